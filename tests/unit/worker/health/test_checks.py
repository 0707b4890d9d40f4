"""Probes: from what was measured to a level and a sentence that says what to do."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.errors import SpoolError
from model.errors import BundleError
from worker.db.read import probes
from worker.db.read.figures import Work
from worker.db.read.probes import Finding, Probe
from worker.db.schema.engine import make_engine, session_factory
from worker.db.schema.migrate import migrate
from worker.db.schema.states import Level
from worker.health import checks
from worker.health.monitor import Monitor, seldom
from worker.queue.hints import HintPublisher

if TYPE_CHECKING:
    from pathlib import Path

WELL = Work(
    oldest_s=3.0,
    waiting=2,
    unheard=0,
    live_workers=1,
    idle_workers=1,
    failed_24h=0,
    failed_studies=0,
    withheld_studies=0,
    conflicts=0,
    stale_leases=0,
    suspended_models=0,
)


def levels(work: Work) -> dict[Probe, Level]:
    return {finding.probe: finding.level for finding in checks.of_work(work) if finding.level is not Level.OK}


def test_all_is_well() -> None:
    assert levels(WELL) == {}
    assert all(not finding.sentence for finding in checks.of_work(WELL))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"live_workers": 0, "idle_workers": 0}, {Probe.WORKERS: Level.FAIL}),
        ({"live_workers": 0, "idle_workers": 0, "waiting": 0}, {Probe.WORKERS: Level.WARN}),
        ({"unheard": 5}, {Probe.CONSUMPTION: Level.FAIL}),
        ({"unheard": 5, "idle_workers": 0}, {}),
        ({"oldest_s": 400.0}, {Probe.OLDEST_WORK: Level.WARN}),
        ({"oldest_s": 4000.0}, {Probe.OLDEST_WORK: Level.FAIL}),
        ({"stale_leases": 1}, {Probe.LEASES: Level.WARN}),
        ({"failed_24h": 1}, {Probe.FAILED: Level.WARN}),
        ({"withheld_studies": 1}, {Probe.WITHHELD: Level.WARN}),
        ({"suspended_models": 1}, {Probe.SUSPENDED: Level.WARN}),
        ({"conflicts": 1}, {Probe.CONFLICTS: Level.WARN}),
    ],
)
def test_what_is_wrong_has_a_level_and_a_sentence(changes: dict[str, Any], expected: dict[Probe, Level]) -> None:
    work = replace(WELL, **changes)
    assert levels(work) == expected
    assert all(finding.sentence for finding in checks.of_work(work) if finding.level is not Level.OK)


def test_failed_films_are_told_by_reason_with_the_command_that_tries_them_again() -> None:
    work = replace(WELL, failed_24h=4, failed_reasons=(("TIMED_OUT", 3), ("WORKER_LOST", 1)))
    (found,) = [finding for finding in checks.of_work(work) if finding.level is not Level.OK]
    assert (found.probe, found.value) == (Probe.FAILED, 4)
    assert found.sentence.startswith("4 films failed within 24 hours (3 TIMED_OUT, 1 WORKER_LOST)")
    assert "`auscult retry STUDY --why ...`" in found.sentence


@pytest.mark.parametrize(
    ("size", "free", "level"),
    [
        (30 << 20, 29 << 20, Level.OK),
        (30 << 20, 2 << 20, Level.WARN),
        (30 << 20, 0, Level.FAIL),
        (4 << 40, 50 << 30, Level.OK),
        (4 << 40, 9 << 30, Level.WARN),
        (4 << 40, 900 << 20, Level.FAIL),
    ],
)
@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_a_disk_warns_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, free: int, level: Level, what: str
) -> None:
    plenty, little = (1 << 30, 1 << 30), (size // 4096, free // 4096)
    blocks, inodes = (little, plenty) if what == "bytes" else (plenty, (size // 100_000, free // 100_000))
    fields = (4096, 4096, blocks[0], blocks[1], blocks[1], inodes[0], inodes[1], inodes[1], 0, 255)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    found = checks.disk(Probe.SPOOL_DISK, tmp_path)
    assert found.level is level
    assert bool(found.sentence) == (level is not Level.OK)


def test_a_folder_that_is_away_fails(tmp_path: Path) -> None:
    assert checks.disk(Probe.STORE_DISK, tmp_path / "gone").level is Level.FAIL


@pytest.mark.parametrize(("ahead_s", "level"), [(-0.2, Level.OK), (-20, Level.WARN), (7200, Level.FAIL)])
def test_a_clock_that_is_off_is_noticed(ahead_s: float, level: Level) -> None:
    assert checks.clock(ahead_s).level is level


@pytest.mark.parametrize(("oldest_s", "level"), [(1, Level.OK), (90, Level.WARN), (900, Level.FAIL)])
def test_an_inbox_that_is_not_worked_off_is_noticed(oldest_s: float, level: Level) -> None:
    assert checks.spool(oldest_s, 3).level is level


def test_a_loop_that_keeps_failing_is_named_with_its_error() -> None:
    assert checks.loops({}).level is Level.OK
    found = checks.loops({"registrar": (7, "DatabaseUnavailable")})
    assert (found.level, found.value) == (Level.FAIL, 7)
    assert "registrar (DatabaseUnavailable, 7 turns)" in found.sentence


def test_a_broker_that_is_not_there_fails(tmp_path: Path) -> None:
    check = HintPublisher(f"redis+socket://{tmp_path}/none.sock").check
    for is_embedded, advice in ((False, "AUSCULT_BROKER_URL"), (True, "start `auscult up`")):
        found = checks.broker(check, is_embedded=is_embedded)
        assert found.level is Level.FAIL
        assert advice in found.sentence


def test_a_model_that_does_not_open_fails_without_the_words_of_the_error() -> None:
    def damaged() -> None:
        raise BundleError("weights of patient Doe")

    found = checks.model(damaged, "auscult-9")
    assert found.level is Level.FAIL
    assert "Doe" not in found.sentence


def test_a_costly_check_is_made_now_and_then() -> None:
    asked: list[int] = []

    def check() -> Finding:
        asked.append(1)
        return Finding(Probe.MODEL)

    checked = seldom(check, 3600)
    assert checked() == checked() == Finding(Probe.MODEL)
    assert len(asked) == 1


def test_the_worst_level_counts() -> None:
    assert checks.worst([]) is Level.OK
    assert checks.worst([Level.WARN, Level.OK]) is Level.WARN
    assert checks.worst([Level.WARN, Level.FAIL, Level.OK]) is Level.FAIL


def test_a_check_that_cannot_look_silences_no_other(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'site.db'}")
    migrate(engine)
    sessions = session_factory(engine)

    def broken() -> Finding:
        raise SpoolError

    Monitor("listener", sessions, [broken, lambda: Finding(Probe.SPOOL_DISK, Level.FAIL)], []).turn()
    with sessions() as session:
        told = {(found.probe, found.level) for found in probes.fresh(session)}
    engine.dispose()
    assert {("MONITOR", Level.FAIL), ("SPOOL_DISK", Level.FAIL)} <= told


def test_drift_warns_with_the_number_of_devices_by_verdict_and_names_none():
    assert checks.drift([], "auscult-2").level is Level.OK
    found = checks.drift(["PICTURES", "PREVALENCE", "PICTURES"], "auscult-2")
    assert (found.level, found.value) == (Level.WARN, 3)
    assert "2 PICTURES, 1 PREVALENCE" in found.sentence
    assert "auscult drift" in found.sentence
