"""``auscult conflict``: studies that contradict each other about a patient or an object, and who is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.bootstrap import open_database
from worker.cli.output import (
    AsCsv,
    AsJson,
    complain,
    login,
    opened_once,
    print_answer,
    print_facts,
    print_json,
    print_table,
)
from worker.cli.verbs import Verbs
from worker.db import disputes, queries
from worker.db.engine import in_transaction
from worker.db.states import ConflictEnd
from worker.db.views import CONFLICTS
from worker.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = Verbs(help="Conflicts about whose film it is: see both sides, decide.")

Number = Annotated[int, typer.Argument(help="The conflict's number.", show_default=False)]
COLUMNS = {
    "conflict_id": "#",
    "held_patient_id": "Held",
    "held_ai_status": "Status",
    "claim_patient_id": "Claim",
    "claim_ai_status": "Status",
    "resolution": "Ended",
}


@app.command("list")
def conflict_list(
    everything: Annotated[bool, typer.Option("--all", help="Also those that were decided.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List conflicts that leave a study in doubt."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = disputes.conflicts(session, decided=everything)
    keys = CONFLICTS.columns.keys()
    print_answer(rows, rows, lambda: print_table(rows, COLUMNS), keys, as_json=as_json, as_csv=as_csv)
    if not rows:
        complain("no conflict" if everything else "no conflict leaves a study in doubt")


@app.command("show")
def conflict_show(number: Number, as_json: AsJson = False) -> None:
    """Show both sides of a conflict, with the results of their films."""
    database = open_database(opened_once())
    with database.reads() as session:
        row = disputes.conflict(session, number)
        sides = [_side(queries.study_detail(session, row[f"{end}_study_uid"]), row, end) for end in ("held", "claim")]
    if as_json:
        print_json(row | {"sides": sides})
        return
    print_facts(row.items())
    for title, films in zip(("films that were there first", "films that contradict them"), sides, strict=True):
        columns = ("sop_uid", "created_at", "outcome", "label", "probability", "image_is_current", "is_current")
        print_table(films, {name: name.replace("_", " ") for name in columns}, title=title)


def _side(details: list[dict[str, Any]], row: dict[str, Any], end: str) -> list[dict[str, Any]]:
    return [item for detail in details if detail["side"] == row[f"{end}_side"] for item in detail["results"]]


@app.command("resolve")
def conflict_resolve(
    number: Number,
    keep: Annotated[
        str, typer.Option(help="held: what was there first; claim: what contradicts it; both; same: it is one patient.")
    ],
    why: Annotated[str, typer.Option(help="Why, for the record.")],
    who: Annotated[str | None, typer.Option(help="Who decides; default: the user's login name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Decide a conflict; the same command again decides it differently, but `same` is for good."""
    if keep.upper() not in ("HELD", "CLAIM", "BOTH", "SAME"):
        msg = "--keep is one of held, claim, both, same"
        raise UsageError(msg)
    if not why.strip():
        msg = "--why is empty: say why, for the record"
        raise UsageError(msg)
    database = open_database(opened_once())

    def decide(session: Session) -> dict[str, Any]:
        return disputes.resolve(session, number, ConflictEnd(keep.upper()), who=who or login(), why=why)

    row = in_transaction(database.sessions, decide)
    if as_json:
        print_json(row)
    else:
        complain(f"conflict {number} is decided: {row['resolution']}")
        print_facts(row.items())
