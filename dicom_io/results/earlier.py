"""An earlier report of Auscult, read from its file, so that a new one can name it as its predecessor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.header.elements import Elements
from dicom_io.header.evidence import EVIDENCE_TAGS, is_own_result
from dicom_io.header.part10 import PIXEL_TAGS, UID_TAGS, parse, read_preface
from dicom_io.results.report import REPORT_CLASS_UID
from dicom_io.results.result import Predecessor

if TYPE_CHECKING:
    from pathlib import Path

_SOP_CLASS, _SOP_UID, _STUDY_UID, _SERIES_UID, _INSTANCE_NUMBER = (
    0x00080016,
    0x00080018,
    0x0020000D,
    0x0020000E,
    0x00200013,
)


def read_predecessor(path: Path, study_uid: str) -> Predecessor | None:
    """Read which report a file holds.

    Parameters
    ----------
    path : pathlib.Path
        A DICOM file.
    study_uid : str
        The study that is reported again.

    Returns
    -------
    Predecessor or None
        None where the file holds anything but a report that Auscult made of this study.

    Raises
    ------
    NotDicom, HeaderUnreadable, OSError
        As `dicom_io.header.reader.read_facts`.
    """
    wanted = UID_TAGS | EVIDENCE_TAGS | {_INSTANCE_NUMBER}
    with path.open("rb") as fp:
        syntax = read_preface(fp).transfer_syntax_uid
        found = Elements(parse(fp, syntax, stop_when=lambda tag, _vr, _n: tag in PIXEL_TAGS, wanted=wanted))
    sop_uid, series_uid = found.uid(_SOP_UID), found.uid(_SERIES_UID)
    is_ours = is_own_result(found) and found.uid(_SOP_CLASS) == REPORT_CLASS_UID
    if not (is_ours and sop_uid and series_uid and found.uid(_STUDY_UID) == study_uid):
        return None
    return Predecessor(REPORT_CLASS_UID, sop_uid, series_uid, max(1, found.integer(_INSTANCE_NUMBER, 1)))
