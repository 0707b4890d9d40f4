"""Verbs that work on files: ingest, classify."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.bootstrap import open_database
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
from worker.errors import UsageError

FAILURES = frozenset({"FAILED", "BAD_INPUT"})
OUTCOME_COLUMNS = {"outcome": "Outcome", "reason": "Reason", "n": "Images"}
FILE_COLUMNS = {
    "path": "File",
    "outcome": "Outcome",
    "label": "Label",
    "probability": "Probability",
    "reason": "Reason",
    "flags": "Flags",
}
Paths = Annotated[list[Path], typer.Argument(help="Files and folders.", show_default=False)]
Model = Annotated[str | None, typer.Option(help="Bundle, as name-version; default: the active one.")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (ingest, classify):
        app.command()(verb)


def ingest(
    paths: Paths,
    wrap: Annotated[bool, typer.Option("--wrap", help="Take JPEG and PNG pictures too, each as a study.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Register DICOM files, folders and zip archives, and judge what is new.

    Skipped and counted below a folder and in an archive: what is not DICOM, as the viewer of a patient's CD; DICOMDIR;
    hidden files; links to folders.

    Turned away, exit code 1: a file named here that is not DICOM; one called .dcm, .dic, .dicom, .ima or .zip that is not
    what it says; what cannot be read. Exit code 2: a folder or archive in which there is no film.
    """
    from worker.ingest import ingest as take_in

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
    print_table(summary["outcomes"], OUTCOME_COLUMNS)
    for item in summary["turned_away"]:
        complain(f"{item['path']}: {item['reason']}, {item['sentence']}")
    console().print(NOTICE)


def classify(
    paths: Paths,
    model: Model = None,
    engine: Annotated[str | None, typer.Option(help="litert or keras.")] = None,
    explain: Explain = None,
    method: HowExplained = "hirescam",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Judge DICOM, JPEG and PNG files on the spot; no database, nothing is stored. With --explain a picture says why.

    Below a folder what is neither DICOM nor a picture is skipped and counted, as for `auscult ingest`.
    """
    from worker.classify import classify as answers_for
    from worker.progress import progress
    from worker.sources import Kind, Skipped, gather

    settings = opened_once(engine=engine)
    skipped = Skipped()
    files = [found.path for found in gather(paths, skipped, {Kind.DICOM, Kind.PICTURE})]
    if explain and len(files) != 1:
        msg = f"--explain explains one file, and here are {len(files)}"
        raise UsageError(msg)
    rows = []
    with progress("judging", len(files)) as advance:
        for number, answer in enumerate(answers_for(settings, files, model), start=1):
            rows.append(answer.as_dict())
            advance(number)

    def show() -> None:
        print_table(rows, FILE_COLUMNS)
        console().print(NOTICE)

    print_answer(rows, rows, show, as_json=as_json, as_csv=as_csv)
    for sentence in skipped.sentences():
        complain(sentence)
    if explain and rows[0]["outcome"] not in FAILURES:
        from worker.explain import explain_file

        write_explained(partial(explain_file, settings, files[0]), explain, model, method)
    if any(row["outcome"] in FAILURES for row in rows):
        raise typer.Exit(1)
