"""The verb ``worklist``."""

from __future__ import annotations

from typing import Annotated

import typer

from model.notice import NOTICE
from worker.cli.common.audited import audit_shown
from worker.cli.common.options import Texts, upper
from worker.cli.common.output import AsCsv, AsJson, complain, console, opened_once, print_answer, print_table
from worker.cli.common.wording import answer_of
from worker.database import open_database
from worker.db.read.reading_order import Place
from worker.db.read.worklist import worklist as rows_of
from worker.db.schema.views import WORKLIST

#: The columns that fit 80 characters; --json and --csv print them all, `auscult show` everything on one study.
WORKLIST_COLUMNS = {
    "accession_number": "Accession",
    "patient_id": "Patient ID",
    "ai_status": "Status",
    "answer": "Answer",
    "flags": "Flags",
}


def worklist(
    limit: Annotated[int, typer.Option(help="How many studies, in reading order.", min=1)] = 50,
    state: Annotated[Texts, typer.Option(help="Only these states; may be repeated.")] = None,
    label: Annotated[Texts, typer.Option(help="Only these labels; may be repeated.")] = None,
    after: Annotated[
        str | None, typer.Option(help="Go on behind this study: RANK/STUDY_UID/SIDE, as the page before names it.")
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print the radiology worklist: every study received, in reading order."""
    place = Place.parse(after) if after else None
    database = open_database(opened_once())
    with database.reads() as session:
        rows = rows_of(session, limit=limit, states=upper(state), labels=upper(label), after=place)

    def show() -> None:
        print_table([{**row, "answer": answer_of(row)} for row in rows], WORKLIST_COLUMNS)
        console().print(NOTICE)

    audit_shown(database, "worklist", rows, as_json=as_json, as_csv=as_csv)
    print_answer(rows, rows, show, WORKLIST.c.keys(), as_json=as_json, as_csv=as_csv)
    if not rows:
        complain("no study matches" if state or label or after else "no study has been received yet")
    if len(rows) == limit:
        complain(f"there may be more: --after {Place.of(rows[-1])}")
