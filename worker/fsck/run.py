"""One run of `auscult fsck`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.film.store import FilmStore
from worker.fsck.findings import FsckReport
from worker.fsck.look import Data, findings
from worker.fsck.repair import Repairs
from worker.stores import store_of

if TYPE_CHECKING:
    from worker.database import Database
    from worker.settings import Settings


def fsck(settings: Settings, database: Database, *, deep: bool = False, repair: bool = False) -> FsckReport:
    """Compare everything, and repair where `repair` is set and nothing is lost by it.

    Parameters
    ----------
    settings, database
        The site.
    deep
        Read every original and every film, and compare their digests.
    repair
        Repair what can be repaired.

    Returns
    -------
    FsckReport
        What was looked at and found.

    Raises
    ------
    StoreAway
        If the store or the films are not mounted.
    SpoolError
        If a folder cannot be read.
    DatabaseUnavailable
        If the database does not answer.
    """
    data = Data(settings, database, store_of(settings, known=True), FilmStore(settings.films))
    report, repairs = FsckReport(), Repairs(data)
    for finding in findings(data, report, deep=deep):
        report.add(finding, repaired=repair and repairs.repair(finding))
    return report
