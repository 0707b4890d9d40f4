"""A PACS is asked about conflicts over what it has sent; where it answers for one side alone, that side is right."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dicom_io.client.association import association
from dicom_io.client.query import find_context, find_images, find_patient
from worker.db.filing import disputes
from worker.db.identity.aliases import Aliases
from worker.db.identity.rules import Patient
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import ConflictEnd, ConflictKind

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from sqlalchemy.orm import Session

    from dicom_io.client.retrieve import Retrieval
    from worker.database import Database

logger = logging.getLogger(__name__)

_WHY = "the PACS that sent these objects answers for this side alone"


def ask_about(database: Database, by: Retrieval, study_uid: str) -> None:
    """Decide the open conflicts of a study that the PACS is a source of; raises the errors of dicom_io.client.query."""
    with database.reads() as session:
        sides = [disputes.sides(session, number) for number in disputes.open_numbers(session, study_uid)]
    sides = [item for item in sides if by.peer.aet in item.sources]
    if not sides:
        return
    with association(by.peer, [find_context()], by.caller) as opened:
        verdicts = [(item, _verdict(database, opened, item)) for item in sides]
    for item, end in verdicts:
        # A system that sent the claim alone knows nothing of what it would take out.
        if end is None or (end is ConflictEnd.CLAIM and by.peer.aet not in item.sources_of_held):
            continue

        def decide(session: Session, item: disputes.Sides = item, end: ConflictEnd = end) -> dict[str, Any]:
            who = f"fetch {by.peer.aet}"
            return disputes.resolve(session, item.number, end, who=who, why=_WHY, asked=item)

        row = in_transaction(database.sessions, decide)
        facts = {"conflict": item.number, "end": row["resolution"]}
        logger.info("conflict answered by its source", extra={"action": "conflict", **facts})


def _verdict(database: Database, opened: Association, sides: disputes.Sides) -> ConflictEnd | None:
    """The side that the PACS confirms; None where it confirms both or neither, or still has what would be lost."""
    if sides.kind is ConflictKind.SOP_INSTANCE:
        has = [
            sides.sop_uid in {image.sop_uid for image in find_images(opened, side.study_uid)}
            for side in (sides.held, sides.claim)
        ]
        return _only(has)
    told = find_patient(opened, sides.held.study_uid)
    if told is None or not told[0]:
        return None
    with database.reads() as session:
        patient = Aliases(session).of(Patient.of(*told))
    end = _only([patient.is_same(side.patient) for side in (sides.held, sides.claim)])
    if end is None:
        return None
    winner, loser = (sides.held, sides.claim) if end is ConflictEnd.HELD else (sides.claim, sides.held)
    listed = {image.sop_uid for image in find_images(opened, sides.held.study_uid)}
    return end if not (loser.sop_uids & listed) - winner.sop_uids else None


def _only(answers: list[bool]) -> ConflictEnd | None:
    held, claim = answers
    if held == claim:
        return None
    return ConflictEnd.HELD if held else ConflictEnd.CLAIM
