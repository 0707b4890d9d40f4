"""``auscult withdrawal``: the films that the hospital has taken back by rejection notes (IHE RAD IOCM)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common.audited import audit_shown
from worker.cli.common.options import Texts, Who, WhyGiven, upper
from worker.cli.common.output import AsCsv, AsJson, Yes, complain, confirm, opened_once, print_answer, print_table
from worker.cli.common.verbs import Verbs
from worker.cli.common.wording import WITHDRAWAL_COLUMNS
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.db.filing import note_decisions
from worker.db.schema.engine import in_transaction
from worker.db.schema.views import WITHDRAWALS
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.db.schema.views import Row

app = Verbs(help="Films that were withdrawn by rejection notes.")

Number = Annotated[int, typer.Argument(help="The note's number.", show_default=False)]
STATES = ("APPLIED", "PENDING", "CONFLICT", "RESTORED", "REVOKED", "EXPIRED")


@app.command("list")
def withdrawal_list(
    study: Annotated[Texts, typer.Option(help="Study Instance UID; may be repeated.")] = None,
    state: Annotated[Texts, typer.Option(help=f"One of {', '.join(STATES)}; may be repeated.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the objects that rejection notes name, with what became of each."""
    states = upper(state)
    if not set(states) <= set(STATES):
        msg = f"--state is one of {', '.join(STATES)}"
        raise UsageError(msg)
    database = open_database(opened_once())
    with database.reads() as session:
        rows = note_decisions.withdrawals(session, study_uids=tuple(study or ()), states=states)
    audit_shown(database, "withdrawal list", _studies(rows), as_json=as_json, as_csv=as_csv)
    print_answer(
        rows,
        rows,
        lambda: print_table(rows, WITHDRAWAL_COLUMNS),
        WITHDRAWALS.columns.keys(),
        as_json=as_json,
        as_csv=as_csv,
    )
    if not rows:
        complain("no rejection note names a film")


@app.command("revoke")
def withdrawal_revoke(number: Number, why: WhyGiven, who: Who = None, yes: Yes = False) -> None:
    """Let a rejection note have no effect any more: the films that it names count again."""
    database = open_database(opened_once())
    confirm(f"the films that note {number} names would count again", yes=yes)
    actor = Actor.user(who or "")
    in_transaction(database.sessions, lambda session: note_decisions.revoke(session, number, actor, why))
    complain(f"note {number} is revoked")


@app.command("accept")
def withdrawal_accept(number: Number, why: WhyGiven, who: Who = None, yes: Yes = False) -> None:
    """Follow a rejection note whose sender is not in AUSCULT_REJECTION_SOURCES."""
    settings = opened_once()
    database = open_database(settings)
    confirm(f"the films that note {number} names would not count any more", yes=yes)
    actor, restores = Actor.user(who or ""), settings.rejected_again == "restore"
    in_transaction(
        database.sessions, lambda session: note_decisions.accept(session, number, actor, why, restores=restores)
    )
    complain(f"note {number} is followed")


def _studies(rows: list[Row]) -> list[Row]:
    return list({(row["study_uid"], row["side"]): row for row in rows if row["side"] is not None}.values())
