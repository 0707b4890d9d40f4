"""``auscult correction``: what sources have corrected, and which patients were merged, with old and new values."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common.audited import audit_shown
from worker.cli.common.options import MOMENT, PAGE, AfterNumber, Limit, Texts
from worker.cli.common.output import AsCsv, AsJson, complain, opened_once, print_answer, print_table
from worker.cli.common.verbs import Verbs
from worker.cli.common.wording import CORRECTION_COLUMNS
from worker.database import open_database
from worker.db.read.corrections import corrections
from worker.db.schema.views import CORRECTIONS

if TYPE_CHECKING:
    from worker.db.schema.views import Row

app = Verbs(help="Corrected values of patients and studies, and patient merges.")


@app.callback()
def group() -> None:
    """Corrected values of patients and studies, and patient merges."""


@app.command("list")
def correction_list(
    study: Annotated[Texts, typer.Option(help="Study Instance UID; may be repeated.")] = None,
    patient: Annotated[Texts, typer.Option(help="Patient ID, the old or the new one; may be repeated.")] = None,
    since: Annotated[datetime | None, typer.Option(help="From this time on, UTC.", **MOMENT)] = None,
    limit: Limit = PAGE,
    after: AfterNumber = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List corrections with old and new values, the newest first."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = corrections(
            session,
            study_uids=tuple(study or ()),
            patient_ids=tuple(patient or ()),
            since=since,
            after=after,
            limit=limit,
        )
    audit_shown(database, "correction list", _concerned(rows), as_json=as_json, as_csv=as_csv)
    keys = CORRECTIONS.columns.keys()
    print_answer(rows, rows, lambda: print_table(rows, CORRECTION_COLUMNS), keys, as_json=as_json, as_csv=as_csv)
    if not rows:
        complain("there are no more" if after is not None else "no such correction is on record")
    if len(rows) == limit:
        complain(f"there may be more: --after {rows[-1]['correction_id']}")


def _concerned(rows: list[Row]) -> list[dict[str, object]]:
    """The studies whose values are shown; a merge stands for itself."""
    found = {
        (row["study_uid"], row["side"], None if row["study_uid"] else row["correction_id"]): {
            "study_uid": row["study_uid"] or "",
            "side": row["side"] or 0,
        }
        for row in rows
    }
    return list(found.values())
