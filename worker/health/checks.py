"""The probes: pure functions from a measured value to a finding, which is well, a warning or failing.

Sentences are fixed texts with numbers; they never quote the text of a library's error.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from model.errors import ModelError
from worker.db.read.figures import COUNTED
from worker.db.read.probes import Finding, Probe
from worker.db.schema.states import Level
from worker.errors import ModelMismatch
from worker.queue.hints import BrokerAway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from worker.db.read.figures import Work

#: Free space and inodes: a warning below the first pair (share, absolute), failing below the second; the smaller counts.
DISK_WARN, DISK_STOP = (0.10, 10 << 30), (0.02, 1 << 30)
INODES_WARN, INODES_STOP = (0.10, 100_000), (0.02, 10_000)
#: Seconds: of the oldest object in the spool, of the oldest task, and between two clocks.
SPOOL_WARN_S, SPOOL_FAIL_S = 60.0, 600.0
WORK_WARN_S, WORK_FAIL_S = 300.0, 1800.0
CLOCK_WARN_S, CLOCK_FAIL_S = 5.0, 60.0
#: Of a result that waits to be delivered: an archive may be away for maintenance.
DELIVERY_WARN_S, DELIVERY_FAIL_S = 600.0, 86_400.0
#: A loop may fail once or twice while another part is restarted.
LOOP_WARN, LOOP_FAIL = 1, 3


def level_of(value: float, warn: float, fail: float) -> Level:
    """The level of a value of which more is worse."""
    if value >= fail:
        return Level.FAIL
    return Level.WARN if value >= warn else Level.OK


def worst(levels: Iterable[Level]) -> Level:
    """The worst of these levels; OK where there is none."""
    order = (Level.OK, Level.WARN, Level.FAIL)
    return max(levels, key=order.index, default=Level.OK)


def disk(probe: Probe, folder: Path, *, is_new: Callable[[], bool] = lambda: False) -> Finding:
    """Free space (bytes) and inodes of the disk of a folder; failing where the folder is away.

    ``is_new`` is asked where it is missing: a folder that is still to be made will be on the disk of the one around it.
    """
    try:
        found = os.statvfs(folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and is_new():
            return disk(probe, folder.parent)
        return Finding(probe, Level.FAIL, None, f"{folder} is away: mount it, or check its permissions.")
    free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    levels = [_scarce(free, size, DISK_WARN, DISK_STOP)]
    if found.f_files:
        levels.append(_scarce(found.f_favail, found.f_files, INODES_WARN, INODES_STOP))
    level = worst(levels)
    sentence = f"{free >> 20} MiB and {found.f_favail} inodes are free at {folder}: make room."
    return Finding(probe, level, float(free), "" if level is Level.OK else sentence)


def _scarce(free: int, size: int, warn: tuple[float, int], stop: tuple[float, int]) -> Level:
    def least(share: float, absolute: int) -> float:
        return min(size * share, absolute)

    if free <= least(*stop):
        return Level.FAIL
    return Level.WARN if free <= least(*warn) else Level.OK


def spool(oldest_s: float, waiting: int, put_off: int = 0) -> Finding:
    """How long the oldest acknowledged object has waited to be registered, and how many failed so far."""
    level = worst([level_of(oldest_s, SPOOL_WARN_S, SPOOL_FAIL_S), Level.WARN if put_off else Level.OK])
    sentence = (
        f"{waiting} acknowledged objects wait to be registered, the oldest for {oldest_s:.0f} s; {put_off} of them failed "
        "and are tried again: the log says why."
    )
    return Finding(Probe.SPOOL, level, oldest_s, "" if level is Level.OK else sentence)


def database(*, is_writable: bool) -> Finding:
    """Whether the database accepts writes."""
    if is_writable:
        return Finding(Probe.DATABASE)
    sentence = "The database is read-only (a standby, or set so): objects wait in the spool and nothing is judged."
    return Finding(Probe.DATABASE, Level.FAIL, None, sentence)


def accepting(*, is_well: bool) -> Finding:
    """Whether the listener takes connections."""
    if is_well:
        return Finding(Probe.LISTENER)
    return Finding(Probe.LISTENER, Level.FAIL, None, "The listener takes no connections: restart it.")


def broker(check: Callable[[], None], *, is_embedded: bool = False) -> Finding:
    """Whether the broker accepts writes; ``check`` raises BrokerAway where it does not."""
    try:
        check()
    except BrokerAway:
        sentence = (
            "The broker of this data folder does not answer: start `auscult up`, which brings it; if that runs, see its log."
            if is_embedded
            else "The broker does not answer, or takes nothing: start it, look at its memory and role, check AUSCULT_BROKER_URL."
        )
        return Finding(Probe.BROKER, Level.FAIL, None, sentence)
    return Finding(Probe.BROKER)


def given_up(count: int) -> Finding:
    """Requests for storage commitment that were given up because their answer was not taken."""
    sentence = "storage commitment: nobody took the answer to requests; see `auscult quarantine list`"
    return Finding(Probe.COMMITMENT, Level.WARN if count else Level.OK, count, sentence if count else "")


def retention(free: int, wanted: int, *, is_exhausted: bool) -> Finding:
    """Whether a purge finds enough to reach the free space (bytes) that the site wants."""
    if not is_exhausted:
        return Finding(Probe.RETENTION, Level.OK, float(free))
    sentence = (
        f"{free >> 20} MiB are free, {wanted >> 20} wanted, and no rule lets more go: 'auscult purge --dry-run' says what "
        "stays and why; make room, or change the rules."
    )
    return Finding(Probe.RETENTION, Level.WARN, float(free), sentence)


def model(check: Callable[[], object], name: str) -> Finding:
    """Whether a bundle opens and has the contents that SQL knows under its name."""
    try:
        check()
    except (ModelError, ModelMismatch):
        return Finding(
            Probe.MODEL, Level.FAIL, None, f"The model {name} cannot be opened here: see `auscult model verify`."
        )
    return Finding(Probe.MODEL)


def drift(alarms: Sequence[str], model: str) -> Finding:
    """Devices whose films or answers are no longer as they were; `alarms`: a verdict for each."""
    words = ", ".join(f"{alarms.count(verdict)} {verdict}" for verdict in sorted(set(alarms)))
    sentence = f"Films or answers of {model} have changed since its reference ({words}): `auscult drift` says how."
    return Finding(Probe.DRIFT, Level.WARN if alarms else Level.OK, len(alarms), sentence if alarms else "")


def quarantine(count: int) -> Finding:
    """Objects set aside because they could not be registered."""
    sentence = f"{count} objects could not be registered and lie in quarantine; `auscult quarantine list` says why."
    return Finding(Probe.QUARANTINE, Level.WARN if count else Level.OK, count, sentence if count else "")


def clock(ahead_s: float) -> Finding:
    """How far this machine's clock is from the database's."""
    level = level_of(abs(ahead_s), CLOCK_WARN_S, CLOCK_FAIL_S)
    sentence = f"The clock of this machine is {ahead_s:+.0f} s from the database's: check NTP on both."
    return Finding(Probe.CLOCK, level, ahead_s, "" if level is Level.OK else sentence)


def loops(failing: dict[str, tuple[int, str]]) -> Finding:
    """Loops whose last turns failed: name to number of failures in a row and class of the last error."""
    worst_count = max((count for count, _ in failing.values()), default=0)
    level = level_of(worst_count, LOOP_WARN, LOOP_FAIL)
    named = ", ".join(f"{name} ({cause}, {count} turns)" for name, (count, cause) in sorted(failing.items()))
    return Finding(Probe.LOOPS, level, worst_count, "" if level is Level.OK else f"These keep failing: {named}.")


def of_work(work: Work) -> list[Finding]:
    """Findings from the tables: waiting work, workers that do not take it, failures and doubts."""
    return [_workers(work), _consumption(work), _oldest(work), _delivery(work), *_counts(work)]


def _workers(work: Work) -> Finding:
    if work.live_workers:
        return Finding(Probe.WORKERS, Level.OK, work.live_workers)
    level = Level.FAIL if work.waiting else Level.WARN
    return Finding(Probe.WORKERS, level, 0, "No worker is alive: start `auscult up` or `auscult work`.")


def _consumption(work: Work) -> Finding:
    if not (work.unheard and work.idle_workers):
        return Finding(Probe.CONSUMPTION, Level.OK, work.unheard)
    sentence = f"{work.unheard} films wait while a worker is idle: does it use this broker? Restart it."
    return Finding(Probe.CONSUMPTION, Level.FAIL, work.unheard, sentence)


def _oldest(work: Work) -> Finding:
    level = level_of(work.oldest_s, WORK_WARN_S, WORK_FAIL_S)
    sentence = f"{work.waiting} films wait for a worker, the oldest for {work.oldest_s:.0f} s."
    return Finding(Probe.OLDEST_WORK, level, work.oldest_s, "" if level is Level.OK else sentence)


def _delivery(work: Work) -> Finding:
    """Results that were given up, or that nobody has taken for a while."""
    failed, oldest_s = work.failed_deliveries, work.delivery_oldest_s
    level = worst([level_of(oldest_s, DELIVERY_WARN_S, DELIVERY_FAIL_S), Level.WARN if failed else Level.OK])
    sentence = (
        f"{work.waiting_deliveries} results wait to be delivered, the oldest for {oldest_s:.0f} s; {failed} were given up: see "
        "`auscult deliver list` for the reasons, then `auscult deliver retry --why ...`."
    )
    return Finding(Probe.DELIVERY, level, oldest_s, "" if level is Level.OK else sentence)


_TRY_AGAIN = (
    "see the log for the cause, then `auscult retry STUDY --why ...`; `auscult worklist --state FAILED` lists studies."
)


def _said(count: int) -> str:
    return f"{count} or more" if count == COUNTED else str(count)


def _listed(reasons: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons)


def _counts(work: Work) -> list[Finding]:
    counted = (
        (
            Probe.LEASES,
            work.stale_leases,
            "leases have run out that no dispatcher picked up: is `auscult listen` running?",
        ),
        (
            Probe.FAILED,
            work.failed_24h,
            f"films failed within 24 hours ({_listed(work.failed_reasons)}): {_TRY_AGAIN}",
        ),
        (
            Probe.WITHHELD,
            work.withheld_studies,
            "studies withhold NORMAL; `auscult worklist --state WITHHELD` says why.",
        ),
        (
            Probe.SUSPENDED,
            work.suspended_models,
            "models are suspended, so their NORMAL is withheld; `auscult model list` says why, `auscult model resume` ends it.",
        ),
        (Probe.CONFLICTS, work.conflicts, "conflicts of identity are open; see `auscult conflict list`."),
    )
    return [
        Finding(probe, Level.WARN if count else Level.OK, count, f"{_said(count)} {words}" if count else "")
        for probe, count, words in counted
    ]
