"""Days are counted once they are over, on both databases; what is counted is compared, reported and acted upon."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dicom_io.reasons import Reason
from model.drift.history import JUDGED
from model.drift.measures import OF_INPUT, Measure, bin_of
from model.drift.verdict import Verdict
from model.input_statistics import InputStatistics
from tests.support.database import BOTH, Site, fresh_site, refused, scored
from tests.support.days import PastFilms, days_ago, write_days
from worker.database import open_database
from worker.db.models import days
from worker.db.models.days import Device
from worker.db.schema.states import DaySource, Level
from worker.health.drift import WHO, DriftWatch
from worker.models import drift
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

NOTICE = "Not a medical device. Not for diagnosis."


@pytest.fixture(params=BOTH)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path)


def with_a_film(site: Site) -> Site:
    """One film that was judged just now: today, which is not counted."""
    entry = site.receive("1.2.3", "1.2.3.1", manufacturer="ACME", device_model="DR 500", source="PACS1")
    site.finish(entry.task_id, scored(0.9))
    return site


def watched(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Any:
    """Settings and database of the site; its model is older than the films."""
    monkeypatch.setenv("AUSCULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AUSCULT_DATABASE_URL", site.url)
    for name, value in settings.items():
        monkeypatch.setenv(f"AUSCULT_{name.upper()}", value)
    site.change("UPDATE model_event SET at = '2020-01-01 00:00:00.000000'")
    chosen = load_settings()
    return chosen, open_database(chosen)


def count(site: Site) -> int:
    counted = 0
    while True:
        with site.sessions.begin() as session:
            if days.count_next_day(session) is None:
                return counted
        counted += 1


def test_a_day_that_is_over_is_counted_by_model_and_device(site: Site) -> None:
    with_a_film(site)
    rng = np.random.default_rng(1)
    first = days_ago(site.sessions, 3)
    written = [
        *write_days(site, PastFilms(rng), first, 3),
        *write_days(site, PastFilms(rng, station="ROOM2", films=5), first, 2),
    ]
    assert count(site) == 3
    assert count(site) == 0, "today is not over"
    for row in site.rows("SELECT * FROM model_daily ORDER BY day, station_name"):
        day = datetime.fromisoformat(str(row["day"])).date()
        own = [one for one in written if one["created_at"].date() == day and one["station_name"] == row["station_name"]]
        check_row(row, own)
    assert len(site.rows("SELECT * FROM model_daily")) == 5
    assert site.value("SELECT sum(n_films) FROM model_daily") == len(written)


def check_row(row: dict[str, Any], films: list[dict[str, Any]]) -> None:
    """A row of the view beside the films themselves."""
    judged = [film for film in films if film["probability"] is not None]
    positive = [film for film in judged if film["probability"] >= 0.5]
    assert (row["n_films"], row["n_judged"], row["n_positive"]) == (len(films), len(judged), len(positive))
    assert row["n_refused"] == len(films) - len(judged)
    assert row["positive_rate"] == pytest.approx(len(positive) / len(judged))
    assert json.loads(row["reasons"]) == {"LATERAL_VIEW": len(films) - len(judged)}
    probabilities = np.array([film["probability"] for film in judged])
    for tenth in (1, 5, 9):
        expected = np.quantile(probabilities, tenth / 10, method="inverted_cdf")
        assert row[f"probability_p{tenth}0"] == pytest.approx(expected)
    for name in (*(measure.lower() for measure in OF_INPUT), "unlikeness"):
        assert row[name] == pytest.approx(np.mean([film[name] for film in judged]), rel=1e-5)
    histograms = json.loads(row["histograms"])
    expected_bins = Counter(bin_of(Measure.SCORE, film["logit"]) for film in judged)
    assert {place: films for place, films in enumerate(histograms["SCORE"]) if films} == expected_bins
    assert set(histograms) == {measure.value for measure in Measure}
    assert (row["source"], row["model_name"], row["manufacturer"], row["device_model"]) == (
        "LIVE",
        "test",
        "ACME",
        "DR 500",
    )
    assert (row["calling_aet"], row["notice"]) == ("PACS1", NOTICE)


def test_results_before_the_statistics_were_kept_are_counted_without_them(site: Site) -> None:
    with_a_film(site)
    first = days_ago(site.sessions, 1)
    write_days(site, PastFilms(np.random.default_rng(1), has_looks=False), first, 1)
    assert count(site) == 1
    (row,) = site.rows("SELECT mean_grey, unlikeness, histograms, n_judged FROM model_daily")
    assert (row["mean_grey"], row["unlikeness"], row["n_judged"]) == (None, None, 20)
    assert list(json.loads(row["histograms"])) == ["SCORE"]


def test_a_result_that_repeats_another_is_not_counted_and_re_runs_are_counted_apart(site: Site) -> None:
    with_a_film(site)
    first = days_ago(site.sessions, 2)
    rng = np.random.default_rng(1)
    written = write_days(site, PastFilms(rng), first, 1)
    write_days(site, PastFilms(rng, films=3), first, 1, taken_from_id=written[0]["id"])
    batch = site.added(
        "INSERT INTO batch (who, why, selector, selector_sha256, model_id, keep_current, created_at, n_tasks, kind) "
        f"VALUES ('a', 'b', '{{}}', 'x', {site.model_id}, true, '2026-01-01', 1, 'SHADOW') RETURNING id"
    )
    write_days(site, PastFilms(rng, films=4, refused=0), first + timedelta(days=1), 1, batch_id=batch)
    assert count(site) == 2
    rows = site.rows("SELECT source, n_films FROM model_daily ORDER BY day")
    assert [(row["source"], row["n_films"]) for row in rows] == [("LIVE", 21), ("SHADOW", 4)]


def test_several_listeners_count_each_day_once(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_film(site)
    write_days(site, PastFilms(np.random.default_rng(1)), days_ago(site.sessions, 6), 6)
    _, database = watched(site, tmp_path, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        counted = list(pool.map(lambda _: drift.count_due(database), range(4)))
    assert sum(counted) + drift.count_due(database) == 6
    assert [row["n"] for row in site.rows("SELECT day, count(*) AS n FROM model_daily GROUP BY day")] == [1] * 6
    database.dispose()


def test_the_counts_are_read_by_device(site: Site) -> None:
    with_a_film(site)
    first = days_ago(site.sessions, 2)
    write_days(site, PastFilms(np.random.default_rng(1)), first, 2)
    count(site)
    with site.sessions() as session:
        (device,) = days.first_days(session, site.model_id, first, DaySource.LIVE)
        spans = [(first, first), (first + timedelta(days=1), first + timedelta(days=9))]
        counts = days.days_of(session, site.model_id, DaySource.LIVE, device, spans)
        assert days.first_days(session, site.model_id, first, DaySource.SHADOW) == {}
        assert days.first_days(session, site.model_id, first, DaySource.LIVE) == {device: first}
    assert device == Device("ACME", "DR 500", "ROOM1", "PACS1")
    assert [day.day for day in counts] == [first, first + timedelta(days=1)]
    assert counts[0].outcomes == {JUDGED: 20, "LATERAL_VIEW": 1}
    assert sum(counts[0].histograms[Measure.SHARPNESS]) == 20


def darkened(site: Site) -> None:
    """Two rooms of which one has darker films in the last four weeks."""
    with_a_film(site)
    rng = np.random.default_rng(1)
    write_days(site, PastFilms(rng), days_ago(site.sessions, 56), 56)
    write_days(site, PastFilms(rng, station="ROOM2"), days_ago(site.sessions, 56), 28)
    write_days(site, PastFilms(rng, station="ROOM2", moved={"mean_grey": -30.0}), days_ago(site.sessions, 28), 28)


def test_the_watch_counts_and_warns_and_leaves_the_model_alone(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    darkened(site)
    settings, database = watched(site, tmp_path, monkeypatch)
    watch = DriftWatch(settings, database)
    assert watch.finding().level is Level.OK
    while watch.turn():
        pass
    found = watch.finding()
    assert found.level is Level.WARN
    assert "test-1" in found.sentence
    assert "PICTURES" in found.sentence
    assert site.value("SELECT count(*) FROM suspension") == 0
    checked = drift.check(settings, database, "test-1")
    by_station = {group.device and group.device.station_name: group.drift for group in checked.groups}
    assert by_station["ROOM1"].verdict is Verdict.NO_CHANGE
    assert by_station["ROOM2"].verdict is Verdict.PICTURES
    assert by_station["ROOM2"].because == (Measure.MEAN_GREY,)
    database.dispose()


def test_where_the_site_wants_it_a_change_of_pictures_suspends_the_model_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    darkened(site)
    settings, database = watched(site, tmp_path, monkeypatch, drift_suspends="true")
    watch = DriftWatch(settings, database)
    while watch.turn():
        pass
    (row,) = site.rows("SELECT who, why, since FROM suspension WHERE ended_at IS NULL")
    assert row["who"] == WHO
    assert "MEAN_GREY" in row["why"]
    begin = datetime.combine(days_ago(site.sessions, 28), time(), UTC)
    assert datetime.fromisoformat(str(row["since"])).replace(tzinfo=UTC) == begin
    again = DriftWatch(settings, database)
    again.turn()
    assert site.value("SELECT count(*) FROM suspension") == 1
    database.dispose()


def test_a_wave_of_pneumonia_suspends_nothing(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_film(site)
    rng = np.random.default_rng(1)
    write_days(site, PastFilms(rng), days_ago(site.sessions, 56), 28)
    write_days(site, PastFilms(rng, prevalence=0.6), days_ago(site.sessions, 28), 28)
    settings, database = watched(site, tmp_path, monkeypatch, drift_suspends="true")
    watch = DriftWatch(settings, database)
    while watch.turn():
        pass
    assert watch.finding().level is Level.WARN
    assert "UNCLEAR" in watch.finding().sentence, "the bundle of this model is not here: nothing tells its classes"
    assert site.value("SELECT count(*) FROM suspension") == 0
    database.dispose()


def test_films_that_a_person_found_good_are_the_new_reference(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    darkened(site)
    settings, database = watched(site, tmp_path, monkeypatch, drift_suspends="true")
    drift.count_due(database)
    good = days_ago(site.sessions, 28)
    assert drift.check(settings, database, "test-1", good).alarms == []
    assert drift.check(settings, database, "test-1", good).since == good
    database.dispose()


def test_the_statistics_of_a_film_are_kept_with_its_result(site: Site) -> None:
    look = InputStatistics(120.5, 60.25, 0.125, 0.0, 0.0625)
    first = site.receive("1.1", "1.1.1")
    site.finish(first.task_id, scored(0.9, look=look))
    second = site.receive("1.2", "1.2.1")
    site.finish(second.task_id, refused(Reason.LATERAL_VIEW))
    rows = site.rows("SELECT mean_grey, contrast, dark_share, bright_share, sharpness FROM result ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [(120.5, 60.25, 0.125, 0.0, 0.0625), (None,) * 5]
