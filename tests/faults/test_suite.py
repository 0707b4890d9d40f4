"""The fault suite itself: it finds what it looks for, and its seams and kinds are what the documents say."""

from __future__ import annotations

import importlib
import time
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.faults.checker import Records, Verdict, judge
from tests.faults.films import Film, Sent, Study
from tests.faults.hook import seams
from tests.faults.kinds import KINDS
from tests.faults.reader import Reader
from tests.faults.rounds import last_line, row_of
from tests.faults.stack import POSTGRESQL, SQLITE

NORMAL = Film("normal", Dataset(), "OK", None, "NORMAL", 0.1)
POSITIVE = Film("positive", Dataset(), "OK", None, "PNEUMONIA", 0.9)
KEY = "ab" * 16


@pytest.mark.parametrize("name", seams.SEAMS)
def test_each_seam_is_a_function_of_the_product(name: str) -> None:
    seam = seams.SEAMS[name]
    holder: Any = importlib.import_module(seam.module)
    for part in seam.attribute.split("."):
        holder = getattr(holder, part)
    assert callable(holder)


@pytest.mark.parametrize("is_after", [False, True])
def test_a_wrapped_function_comes_to_its_seam_on_the_side_that_is_named(
    is_after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    module = types.ModuleType("some_module")
    module.work = lambda: done.append("work")  # type: ignore[attr-defined]
    monkeypatch.setitem(seams.SEAMS, "a seam", seams.Seam("some_module", "work", is_after))
    seams.wrap(module, "a seam", done.append)
    module.work()
    assert done == (["work", "a seam"] if is_after else ["a seam", "work"])


def test_there_are_at_least_25_kinds_of_fault_on_each_database() -> None:
    for database in (SQLITE, POSTGRESQL):
        assert sum(database in kind.databases for kind in KINDS.values()) >= 25


@pytest.fixture
def store(tmp_path: Path) -> Path:
    original = tmp_path / KEY[:2] / KEY[2:4] / f"{KEY}.dcm"
    original.parent.mkdir(parents=True)
    original.touch()
    return tmp_path


def sent(study: Study, film: Film, acked_at: float | None = 1.0) -> Sent:
    found = Sent(
        study.uid, f"{study.uid}.{len(study.objects)}", film, Path(), film.name, acked_at=acked_at, acked_wall=acked_at
    )
    study.objects.append(found)
    return found


def records(study: Study, label: str | None, state: str = "FINAL") -> Records:
    """What SQL holds of a study that went well."""
    found = Records([{"study_uid": study.uid, "ai_status": state, "label": label, "reason": None}])
    for number, each in enumerate(study.objects):
        found.images.append(
            {
                "id": number,
                "sop_uid": each.sop_uid,
                "sha256": each.sha256,
                "is_current": True,
                "store_key": KEY,
                "live_tasks": 1,
                "open_tasks": 0,
            }
        )
        film = each.film
        found.results[number] = [{"outcome": film.outcome, "reason_code": film.reason, "probability": film.probability}]
    return found


@pytest.fixture
def study() -> Study:
    made = Study("1.2")
    for film in (NORMAL, POSITIVE):
        sent(made, film)
    return made


def found(study: Study, held: Records, store: Path) -> set[str]:
    verdict = Verdict()
    judge(study, held, store, verdict)
    return {name for name, count in verdict.counts().items() if count}


def test_the_checker_finds_nothing_where_all_is_well(study: Study, store: Path) -> None:
    assert found(study, records(study, "PNEUMONIA"), store) == set()


def test_the_checker_finds_an_acknowledged_object_without_a_row(study: Study, store: Path) -> None:
    held = records(study, "PNEUMONIA")
    held.images.pop(0)
    assert "lost" in found(study, held, store)
    assert "lost" in found(study, Records(), store)


def test_the_checker_finds_an_original_that_is_not_in_the_store(study: Study, tmp_path: Path) -> None:
    assert found(study, records(study, "PNEUMONIA"), tmp_path) == {"lost"}


@pytest.mark.parametrize("what", ["rows", "images", "tasks", "results"])
def test_the_checker_finds_what_is_there_twice(study: Study, store: Path, what: str) -> None:
    held = records(study, "PNEUMONIA")
    if what == "rows":
        held.rows *= 2
    elif what == "images":
        held.images.append(held.images[0])
    elif what == "tasks":
        held.images[0] = {**held.images[0], "live_tasks": 2}
    else:
        held.results[0] *= 2
    assert found(study, held, store) == {"doubled"}


@pytest.mark.parametrize("state", ["RECEIVING", "QUEUED", "PROVISIONAL", "WITHHELD"])
def test_the_checker_finds_a_study_that_does_not_end(study: Study, store: Path, state: str) -> None:
    assert found(study, records(study, None, state), store) == {"stuck"}


def test_the_checker_finds_a_normal_where_a_film_is_positive_or_failed(study: Study, store: Path) -> None:
    assert found(study, records(study, "NORMAL"), store) == {"silent"}
    study.objects.pop()
    held = records(study, "NORMAL")
    held.results[0] = [{"outcome": "FAILED", "reason_code": "WORKER_LOST", "probability": None}]
    assert found(study, held, store) == {"silent"}


def test_the_checker_finds_another_score_than_that_of_the_same_film(study: Study, store: Path) -> None:
    held = records(study, "PNEUMONIA")
    held.results[0] = [{**held.results[0][0], "probability": 0.2}]
    assert found(study, held, store) == {"wrong"}


@pytest.mark.parametrize(("acked_after_s", "is_silent"), [(-5, True), (5, False)])
def test_the_reader_finds_a_normal_written_after_a_positive_film_was_acknowledged(
    study: Study, acked_after_s: int, is_silent: bool
) -> None:
    finished = datetime.now(UTC)
    positive = study.objects[1]
    positive.acked_at = time.monotonic() - 1
    positive.acked_wall = (finished + timedelta(seconds=acked_after_s)).timestamp()
    reader = Reader("sqlite://")
    reader._judge(study, {"study_uid": study.uid, "finished_at": finished}, time.monotonic())
    assert bool(reader.findings) == is_silent
    assert (reader.longest_late_s > 0) != is_silent


def test_the_last_line_sums_the_rows() -> None:
    row = row_of("a kind", [])
    assert last_line([{**row, "rounds": 2, "studies": 9, "stuck": 1}, {**row, "studies": 1}]) == (
        "2 kinds, 2 rounds, 10 studies: 0 lost, 0 doubled, 1 stuck, 0 silent"
    )
