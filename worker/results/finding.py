"""What the row of a study says about pneumonia, by one pure function: no SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from dicom_io.results.result import FindingStatus
from model.labels import Band, Label
from worker.db.schema.states import StudyState

if TYPE_CHECKING:
    from collections.abc import Collection

#: Flags of an answer that says nothing outside the worklist: it may be of another patient, of a model in doubt, or of a
#: version of a film that does not count any more.
SILENCING = frozenset(
    {
        Reason.IDENTITY_CONFLICT,
        Reason.MODEL_SUSPENDED,
        Reason.CORRECTION_PENDING,
        Reason.REJECTED_FOR_QUALITY,
    }
)


def finding_status(
    label: Label | None, band: Band | None, state: StudyState, flags: Collection[str] = ()
) -> FindingStatus | None:
    """Whether pneumonia is present, as far as the study's answer tells.

    Parameters
    ----------
    label, band, state, flags
        The columns of `study`.

    Returns
    -------
    FindingStatus or None
        INDETERMINATE for a judged study in the middle band, whatever its label. None for a study without an answer, or
        with one in doubt about its patient, its model or its films: then nothing may be said.
    """
    if label is None or state not in (StudyState.FINAL, StudyState.PROVISIONAL) or SILENCING.intersection(flags):
        return None
    if band is Band.INTERMEDIATE:
        return FindingStatus.INDETERMINATE
    return FindingStatus.PRESENT if label is Label.PNEUMONIA else FindingStatus.ABSENT
