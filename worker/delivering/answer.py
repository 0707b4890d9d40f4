"""What a study's row allows to be told elsewhere, and what a destination is therefore to be told next: pure functions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.db.schema.states import DeliveryAction, DeliveryState, StudyState
from worker.results.finding import finding_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicom_io.results.result import FindingStatus
    from worker.db.delivery.changes import Told
    from worker.db.schema.study import Destination, Study

#: What holds when nothing may be told.
NOTHING = ""


@dataclass(frozen=True, slots=True)
class Tell:
    """What a destination is to be told: an action, and the digest of what it says."""

    action: DeliveryAction
    says: str


def finding_of(study: Study) -> FindingStatus | None:
    """The finding that may be told: of a FINAL answer that is judged and not in doubt alone; None where nothing may be."""
    if study.state is not StudyState.FINAL or study.merged_into_id is not None:
        return None
    return finding_status(study.label, study.band, study.state, study.flags)


def is_settling(study: Study) -> bool:
    """Whether an answer is still to come, so that what was told stays as it is until then."""
    return not study.state.is_terminal and study.merged_into_id is None


def says_of(study: Study) -> str:
    """SHA-256 of what the objects repeat of a study's row; `NOTHING` where nothing may be told."""
    status = finding_of(study)
    if status is None:
        return NOTHING
    told = [
        status.value,
        study.label,
        study.band,
        repr(study.probability),
        repr(study.threshold),
        study.model_id,
        sorted(study.flags),
        study.revision,
        study.patient_id,
        study.issuer_of_patient_id,
        study.patient_name,
        str(study.patient_birth_date),
        study.patient_sex,
        study.accession_number,
    ]
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()


def is_wanted(study: Study, destination: Destination, callers: frozenset[str]) -> bool:
    """Whether the rule of a destination wants the answer of a study; `callers`: AE titles that sent it."""
    status = finding_of(study)
    return (
        status is not None
        and (not destination.findings or status.value in destination.findings)
        and (not destination.bands or (study.band is not None and study.band.value in destination.bands))
        and (not destination.callers or not callers.isdisjoint(destination.callers))
    )


def next_of(says: str, told: Sequence[Told], *, is_wanted: bool) -> Tell | None:
    """What a destination is to be told next about a study that is settled; None where it knows.

    Parameters
    ----------
    says
        What holds now, of `says_of`.
    told
        The deliveries of the study to the destination so far, the oldest first.
    is_wanted
        Whether its rule wants the answer. One that was told anything is told everything that follows.
    """
    # What was overtaken before it was sent is as if it had never been.
    known = [one for one in told if one.is_begun or one.state is not DeliveryState.SUPERSEDED]
    last = known[-1] if known else None
    if last is not None and last.says == says and last.state is not DeliveryState.SUPERSEDED:
        return None
    if says != NOTHING:
        return Tell(DeliveryAction.REPORT, says) if is_wanted or known else None
    has_any = any(one.is_begun or one.state is DeliveryState.CLAIMED for one in known)
    return Tell(DeliveryAction.WITHDRAW, NOTHING) if has_any else None


def leaves_waiting(says: str, told: Sequence[Told]) -> bool:
    """Whether a delivery waits that says what does not hold any more, although nothing follows it."""
    return says == NOTHING and any(one.state is DeliveryState.PENDING and one.says != NOTHING for one in told)
