"""The reading order by the site's rules: each row has its turn, and nothing doubtful stands below a NORMAL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from dicom_io.reasons import Reason
from model.labels import Band
from tests.support.database import BOTH, fresh_site, refused, scored

pytestmark = pytest.mark.integration

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
#: One study of each kind by its name, in the order of the rules as they are delivered.
ANSWERS = {
    "high": scored(0.9, band=Band.HIGH),
    "pneumonia": scored(0.9),
    "failed": refused(Reason.DECODE_FAILED),
    "open": None,
    "not_applicable": refused(Reason.LATERAL_VIEW),
    "normal": scored(0.1),
    "low": scored(0.1, band=Band.LOW),
}
DOUBTFUL = ("high", "pneumonia", "failed", "withheld")


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def arrive(site, kind: str, number: int, at: datetime = NOON, **others) -> None:
    """A study of a kind, known by its accession number."""
    judgement = ANSWERS[kind]
    values = {"received_at": at, "accession_number": kind, "quiet_ms": 0 if judgement else 600_000, **others}
    film = site.receive(f"1.{number}", f"1.{number}.1", **values)
    if judgement:
        site.finish(film.task_id, judgement)
        site.settle()


def order(site) -> list[str]:
    return [row["accession_number"] for row in site.worklist()]


def one_of_each(site, at: datetime = NOON) -> None:
    for number, kind in enumerate(reversed(ANSWERS)):
        arrive(site, kind, number, at)
    arrive(site, "normal", 90, at, accession_number="withheld")
    site.change("UPDATE study SET state = 'WITHHELD', label = NULL, band = NULL, reason = 'MODEL_SUSPENDED' "
                "WHERE accession_number = 'withheld'")  # fmt: skip


def test_rows_that_came_together_are_read_by_what_they_say(site):
    one_of_each(site)
    assert order(site) == ["high", "pneumonia", "withheld", "failed", "open", "not_applicable", "normal", "low"]


def test_an_urgent_row_comes_before_a_routine_one_of_its_kind(site):
    for number, kind in enumerate(ANSWERS):
        arrive(site, kind, number)
        arrive(site, kind, number + 50, requested_priority="STAT", accession_number=f"{kind}, STAT")
    ordered = order(site)
    assert all(ordered.index(f"{kind}, STAT") < ordered.index(kind) for kind in ANSWERS)


def test_no_row_waits_for_ever_while_others_come(site):
    """A stream of urgent findings goes on for days: the NORMAL of the first day has its turn all the same."""
    arrive(site, "low", 0)
    for hour in range(1, 72, 6):
        arrive(site, "high", hour, NOON + timedelta(hours=hour), requested_priority="STAT")
    place = order(site).index("low")
    assert 0 < place < 11, "behind those that came before it was due, and before those that came later"


def test_a_site_changes_a_rule_and_rows_of_the_last_days_that_nobody_read_follow(site):
    now = datetime.now(UTC)
    arrive(site, "normal", 1, now)
    arrive(site, "open", 2, now)
    assert order(site) == ["open", "normal"]
    site.change("UPDATE priority_rule SET routine_s = 60, urgent_s = 0 WHERE kind = 'NORMAL'")
    assert order(site) == ["normal", "open"]
    assert site.worklist()[0]["priority_reason"] == "NORMAL: due 60 s after it came"


def test_nothing_doubtful_stands_below_a_normal_of_the_same_moment_whatever_the_rules_say(site):
    site.change("UPDATE priority_rule SET routine_s = 31536000 WHERE kind NOT IN ('NORMAL', 'NORMAL_LOW')")
    site.change("UPDATE priority_rule SET routine_s = 30, urgent_s = 0 WHERE kind = 'NORMAL_LOW'")
    one_of_each(site)
    arrive(site, "low", 95, requested_priority="STAT", accession_number="low, STAT")
    ranks = {row["accession_number"]: row["priority_rank"] for row in site.worklist()}
    normal = min(ranks[name] for name in ("normal", "low", "low, STAT"))
    assert {name: ranks[name] <= normal for name in DOUBTFUL} == dict.fromkeys(DOUBTFUL, True)


def test_a_conflict_without_an_answer_counts_as_withheld(site):
    arrive(site, "not_applicable", 1)
    site.change("""UPDATE study SET flags = '["IDENTITY_CONFLICT"]'""")
    (row,) = site.worklist()
    assert row["priority_reason"] == "withheld or in conflict: due 7200 s after it came"


def test_read_rows_come_last_until_films_come_that_nobody_has_read(site):
    arrive(site, "high", 1)
    arrive(site, "low", 2)
    site.change("INSERT INTO assessments (study_uid, reader) VALUES ('1.1', 'lee')")
    assert order(site) == ["low", "high"]
    assert site.worklist()[1]["priority_reason"] == "read, PNEUMONIA of band HIGH: due 900 s after it came"
    site.finish(site.receive("1.1", "1.1.2", accession_number="high").task_id, scored(0.9, band=Band.HIGH))
    site.settle()
    assert order(site) == ["high", "low"]


@pytest.mark.parametrize(
    "values", ["routine_s = -1, urgent_s = -1", "urgent_s = routine_s + 1", "routine_s = 31536001"]
)
def test_a_time_that_no_rule_can_have_is_refused(site, values):
    with pytest.raises(IntegrityError):
        site.change(f"UPDATE priority_rule SET {values}")


def test_the_rules_are_those_of_the_page(site):
    from tests.support.documents import ROOT

    page = (ROOT / "docs" / "query.md").read_text(encoding="utf-8")
    for row in site.rows("SELECT kind, routine_s, urgent_s FROM priority_rule"):
        line = next(line for line in page.splitlines() if line.startswith(f"| `{row['kind']}` |"))
        assert line.endswith(f"| {row['routine_s']} | {row['urgent_s']} |")
