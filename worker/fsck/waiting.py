"""What waits too long on this machine: objects in the spools, and refusals in the journal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dicom_io.durable import spool_error
from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from worker.db.filing.holdings import BACKFILL_PRIORITY
from worker.db.filing.registry import add_refusals
from worker.fsck.findings import Finding, FindingKind
from worker.intake.filing import Filing, StudyClock, rejection_policy
from worker.intake.folders import COMMITMENT, spools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.inbox.store import Store
    from worker.settings import Settings

#: An object is registered within seconds of its arrival, and a refusal too.
WAITS_S = 900.0
#: The sender of what an ingest takes is the ingest; a fetch names the PACS in the object.
_SOURCES = {"ingest": ""}
_PRIORITIES = {"fetch": BACKFILL_PRIORITY}


def waiting(settings: Settings) -> Iterator[Finding]:
    """What has waited for longer than `WAITS_S`; raises SpoolError where a folder cannot be read."""
    for name, root in spools(settings).items():
        if name == COMMITMENT or not root.is_dir():
            continue
        spool = Spool(root)
        keys = spool.keys()
        yield from (
            Finding(FindingKind.SPOOL_WAITS, f"{name}/{key}") for key in keys if _age_s(spool.path(key)) > WAITS_S
        )
    if settings.spool.is_dir():
        yield from _journal(settings.spool)


def _journal(root: Path) -> Iterator[Finding]:
    try:
        for path in sorted(root.glob("journal*")):
            if path.suffix == ".broken":
                yield Finding(FindingKind.JOURNAL_BROKEN, str(path))
            elif path.suffix in (".jsonl", ".taken") and _age_s(path) > WAITS_S:
                yield Finding(FindingKind.JOURNAL_WAITS, str(path))
    except OSError as error:
        raise spool_error(error) from error


def register_waiting(settings: Settings, sessions: sessionmaker[Session], store: Store, finding: Finding) -> bool:
    """Register an object as its own process would have done; False where another process has it now, or took it.

    The entry goes last, so that a crash leaves it to be registered again.
    """
    name, _, key = finding.what.partition("/")
    spool = Spool(spools(settings)[name])
    filing = Filing(
        sessions,
        store,
        StudyClock.of(settings),
        priority=_PRIORITIES.get(name, 0),
        source=_SOURCES.get(name),
        policy=rejection_policy(settings),
    )
    with spool.claimed(key) as is_ours:
        if not is_ours:
            return False
        filing.file(spool.path(key), key)
        spool.remove(key)
    return True


def book_refusals(settings: Settings, sessions: sessionmaker[Session]) -> bool:
    """Write the refusals of the journal to SQL; one that is there already adds nothing."""
    journal = Journal(settings.spool)
    drained = journal.drain()
    with sessions.begin() as session:
        add_refusals(session, drained.records)
    journal.ack(drained)
    return True


def _age_s(path: Path) -> float:
    """Seconds since the last change of a file; 0 where it is gone."""
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
