"""Verbs that read: worklist, show."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from worker.bootstrap import open_database
from worker.cli.conflicts import COLUMNS as CONFLICT_COLUMNS
from worker.cli.explaining import Explain, HowExplained, write_explained
from worker.cli.output import (
    NOTICE,
    AsCsv,
    AsJson,
    complain,
    console,
    opened_once,
    print_answer,
    print_facts,
    print_table,
)
from worker.db import queries
from worker.db.views import WORKLIST
from worker.errors import UsageError

#: What fits 80 columns; `auscult show` has the rest of a study, --json and --csv the rest of the list.
WORKLIST_COLUMNS = {
    "accession_number": "Accession",
    "patient_id": "Patient ID",
    "ai_status": "Status",
    "answer": "Answer",
    "flags": "Flags",
}
RESULT_COLUMNS = {
    "result_id": "Result",
    "created_at": "Created",
    "model": "Model",
    "answer": "Answer",
    "batch_id": "Batch",
    "is_current": "Current",
}
CORRECTION_COLUMNS = {
    "at": "At",
    "source": "Source",
    "column_name": "Column",
    "old_value": "Before",
    "new_value": "After",
    "sop_uid": "SOP Instance UID",
}
_LISTED = ("results", "corrections", "conflicts")


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (worklist, show):
        app.command()(verb)


def worklist(
    limit: Annotated[int, typer.Option(help="How many studies, in reading order.", min=1)] = 50,
    state: Annotated[list[str] | None, typer.Option(help="Only these states; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only these labels; may be repeated.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print the radiology worklist: every study received, in reading order."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = queries.worklist(
            session,
            limit=limit,
            states=tuple(item.upper() for item in state or ()),
            labels=tuple(item.upper() for item in label or ()),
        )

    def show_rows() -> None:
        print_table([{**row, "answer": answer_of(row)} for row in rows], WORKLIST_COLUMNS)
        console().print(NOTICE)

    print_answer(rows, rows, show_rows, WORKLIST.c.keys(), as_json=as_json, as_csv=as_csv)
    if not rows:
        complain("no study matches" if state or label else "no study has come yet")


def show(
    study: Annotated[str, typer.Argument(help="Study Instance UID, accession number or Patient ID.")],
    explain: Explain = None,
    image: Annotated[
        str | None, typer.Option(help="SOP Instance UID to explain; default: the film that decides.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Bundle that explains; default: the one that judged.")] = None,
    method: HowExplained = "hirescam",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show one study: its answer and every result it ever had; with --explain why, as a picture."""
    settings = opened_once()
    database = open_database(settings)
    with database.reads() as session:
        found = queries.study_detail(session, study)
    if not found:
        msg = f"no study {study}: give a Study Instance UID, an accession number or a Patient ID of the worklist"
        raise UsageError(msg)
    results = [{"study_uid": detail["study_uid"], **result} for detail in found for result in detail["results"]]
    print_answer(found, results, partial(show_studies, found), as_json=as_json, as_csv=as_csv)
    if explain:
        from worker.explain import explain_stored

        write_explained(partial(explain_stored, settings, database, study, image), explain, model, method)


def show_studies(found: list[dict[str, Any]]) -> None:
    """Each study, then each of its films: all of the result that counts, and a line for each other one."""
    for detail in found:
        print_facts((name, value) for name, value in detail.items() if name not in _LISTED)
        for sop_uid in dict.fromkeys(result["sop_uid"] for result in detail["results"]):
            results = [result for result in detail["results"] if result["sop_uid"] == sop_uid]
            console().print()
            for counting in filter(_counts, results):
                print_facts((name, value) for name, value in counting.items() if value is not None)
            rows = [{**result, "is_current": _counts(result), "answer": answer_of(result)} for result in results]
            print_table(rows, RESULT_COLUMNS, title=f"results of {sop_uid}, newest first")
        if detail["corrections"]:
            print_table(detail["corrections"], CORRECTION_COLUMNS, title="corrections, newest first")
        if detail["conflicts"]:
            print_table(detail["conflicts"], CONFLICT_COLUMNS, title="conflicts, newest first")


def _counts(result: Mapping[str, Any]) -> bool:
    """The current result of the version that counts: each version of a film has a current result of its own."""
    return bool(result["is_current"] and result["image_is_current"])


def answer_of(row: Mapping[str, Any]) -> str:
    """Label and probability, or else why there is none."""
    if row["label"]:
        return f"{row['label']} {row['probability']:.3f}"
    return str(row["reason"] or row.get("outcome") or "-")
