"""``auscult conflict``: list, show and decide contradictions between studies about a patient or an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common.audited import audit_shown
from worker.cli.common.options import PAGE, AfterNumber, Limit, WhyGiven
from worker.cli.common.output import (
    AsCsv,
    AsJson,
    complain,
    opened_once,
    print_answer,
    print_facts,
    print_json,
    print_table,
)
from worker.cli.common.verbs import Verbs
from worker.cli.common.wording import CONFLICT_COLUMNS
from worker.database import open_database
from worker.db.filing import disputes
from worker.db.read import queries
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import ConflictEnd
from worker.db.schema.views import CONFLICTS
from worker.environment import login
from worker.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = Verbs(help="Conflicts about the patient of a film: show both sides, decide.")

Number = Annotated[int, typer.Argument(help="The conflict's number.", show_default=False)]


@app.command("list")
def conflict_list(
    everything: Annotated[bool, typer.Option("--all", help="Also conflicts that have ended.")] = False,
    limit: Limit = PAGE,
    after: AfterNumber = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List conflicts that leave a study in doubt."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = disputes.conflicts(session, decided=everything, after=after, limit=limit)
    keys = CONFLICTS.columns.keys()
    audit_shown(database, "conflict list", _studies(rows), as_json=as_json, as_csv=as_csv)
    print_answer(rows, rows, lambda: print_table(rows, CONFLICT_COLUMNS), keys, as_json=as_json, as_csv=as_csv)
    if not rows:
        none = "there are no conflicts" if everything else "no study is in doubt because of a conflict"
        complain(none if after is None else "there are no more")
    if len(rows) == limit:
        complain(f"there may be more: --after {rows[-1]['conflict_id']}")


@app.command("show")
def conflict_show(number: Number, as_json: AsJson = False) -> None:
    """Show both sides of a conflict, with the results of their films."""
    database = open_database(opened_once())
    with database.reads() as session:
        row = disputes.conflict(session, number)
        sides = [_side(queries.study_detail(session, row[f"{end}_study_uid"]), row, end) for end in ("held", "claim")]
    audit_shown(database, "conflict show", _studies([row]), as_json=as_json)
    if as_json:
        print_json(row | {"sides": sides})
        return
    print_facts(row.items())
    for title, films in zip(("films that were there first", "films that contradict them"), sides, strict=True):
        columns = ("sop_uid", "created_at", "outcome", "label", "probability", "image_is_current", "is_current")
        print_table(films, {name: name.replace("_", " ") for name in columns}, title=title)


def _studies(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The studies of both ends of each conflict; a rejection note has one."""
    ends = [(row[f"{end}_study_uid"], row[f"{end}_side"]) for row in rows for end in ("held", "claim")]
    return [{"study_uid": study_uid, "side": side} for study_uid, side in ends if study_uid and side is not None]


def _side(details: list[dict[str, Any]], row: dict[str, Any], end: str) -> list[dict[str, Any]]:
    return [item for detail in details if detail["side"] == row[f"{end}_side"] for item in detail["results"]]


@app.command("resolve")
def conflict_resolve(
    number: Number,
    keep: Annotated[
        str,
        typer.Option(
            help="held: the first study is right; claim: the one that contradicts it; both; same: it is one patient."
        ),
    ],
    why: WhyGiven,
    who: Annotated[str | None, typer.Option(help="Who decides; default: your login name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Decide a conflict. A later decision replaces it, except `same`, which is final."""
    if keep.upper() not in ("HELD", "CLAIM", "BOTH", "SAME"):
        msg = "--keep is one of held, claim, both, same"
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
