"""``auscult patient merge`` and ``unmerge``: two Patient IDs are one person's, or are not after all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common.options import Who, WhyGiven
from worker.cli.common.output import complain, opened_once
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.db.filing import merges
from worker.db.filing.merges import PatientName
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import MergeKind

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

OldId = Annotated[str, typer.Argument(metavar="OLD_ID", help="Patient ID that is not used any more.")]
NewId = Annotated[str, typer.Argument(metavar="NEW_ID", help="Patient ID that survives.")]
Issuer = Annotated[str, typer.Option(help="Issuer of Patient ID; default: whatever the issuer.")]


def merge(
    old_id: OldId,
    new_id: NewId,
    why: WhyGiven,
    issuer: Issuer = "",
    new_issuer: Annotated[str | None, typer.Option(help="Issuer of the new ID, where it is another one.")] = None,
    rename: Annotated[
        bool, typer.Option("--rename", help="The ID was changed (HL7 A47); default: two records were merged (A40).")
    ] = False,
    who: Who = None,
) -> None:
    """Let all films of one Patient ID be of the patient with another one, those that have come and those to come.

    Either ID may be unknown yet. Conflicts between the two end; `auscult patient unmerge` takes it back.
    """
    settings = opened_once()
    old, new = PatientName(old_id, issuer), PatientName(new_id, issuer if new_issuer is None else new_issuer)
    kind = MergeKind.RENAME if rename else MergeKind.MERGE
    restores = settings.rejected_again == "restore"

    def work(session: Session) -> merges.Merged:
        return merges.merge_patients(session, old, new, Actor.user(who or ""), why, kind=kind, restores=restores)

    done = in_transaction(open_database(settings).sessions, work)
    if done.is_new:
        complain(f"merge {done.number} is in force; it concerns {done.studies} studies on record")
    else:
        complain(f"merge {done.number} was in force already: nothing is changed")


def unmerge(old_id: OldId, why: WhyGiven, issuer: Issuer = "", who: Who = None) -> None:
    """End the merge of a Patient ID: its films are of their own patient again."""
    settings = opened_once()
    old, restores = PatientName(old_id, issuer), settings.rejected_again == "restore"

    def work(session: Session) -> merges.Merged:
        return merges.unmerge_patient(session, old, Actor.user(who or ""), why, restores=restores)

    done = in_transaction(open_database(settings).sessions, work)
    complain(f"merge {done.number} is ended; it concerned {done.studies} studies on record")
