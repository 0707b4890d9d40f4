"""The verb ``ingest``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common.options import FAILURES, Paths
from worker.cli.common.output import (
    AsCsv,
    AsJson,
    complain,
    console,
    opened_once,
    print_answer,
    print_facts,
    print_table,
)
from worker.cli.common.wording import explain_codes
from worker.database import open_database
from worker.db.read import queries

OUTCOME_COLUMNS = {"outcome": "Outcome", "reason": "Reason", "n": "Images"}


def ingest(
    paths: Paths,
    wrap: Annotated[bool, typer.Option("--wrap", help="Register JPEG and PNG pictures too, each as a study.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Register DICOM files, folders and zip archives, and judge the new films.

    Below a folder and in an archive these are skipped and counted: files that are not DICOM, such as the viewer on a
    patient's CD; DICOMDIR; hidden files; links to folders.

    These are refused, exit code 1: a file named on the command line that is not DICOM; a file called .dcm, .dic, .dicom,
    .ima or .zip that is something else; a file that cannot be read. Exit code 2: a folder or archive without a film.
    """
    from worker.batches.ingest import ingest as take_in

    settings = opened_once()
    database = open_database(settings)
    intake = take_in(settings, database, paths, wrap=wrap)
    with database.reads() as session:
        outcomes = queries.outcomes_of_tasks(session, sorted(intake.tasks))
    summary = {
        "registered": intake.registered,
        "duplicates": intake.duplicates,
        "studies": len(intake.studies),
        "outcomes": outcomes,
        "skipped": intake.skipped.as_dict(),
        "turned_away": [
            {"path": item.path, "reason": item.reason, "sentence": item.sentence} for item in intake.turned
        ],
        "notice": NOTICE,
    }
    print_answer(
        summary, outcomes, lambda: _show_intake(summary), tuple(OUTCOME_COLUMNS), as_json=as_json, as_csv=as_csv
    )
    if not as_json:
        for sentence in intake.skipped.sentences():
            complain(sentence)
    if intake.turned or any(row["outcome"] in FAILURES for row in outcomes):
        raise typer.Exit(1)


def _show_intake(summary: dict[str, Any]) -> None:
    print_facts((name, summary[name]) for name in ("registered", "duplicates", "studies"))
    if summary["outcomes"]:
        print_table(summary["outcomes"], OUTCOME_COLUMNS)
    explain_codes(row["reason"] for row in summary["outcomes"])
    for item in summary["turned_away"]:
        complain(f"{item['path']}: {item['reason']}, {item['sentence']}")
    console().print(NOTICE)
