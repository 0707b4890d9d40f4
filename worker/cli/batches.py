"""Verbs that work on many files or studies: ingest, classify, rerun, batch list and show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.bootstrap import active_model, open_database
from worker.cli.explaining import Explain, HowExplained, write_explained
from worker.cli.output import (
    NOTICE,
    AsJson,
    complain,
    console,
    login,
    opened_once,
    print_facts,
    print_json,
    print_table,
)
from worker.db import queries
from worker.errors import UsageError

FAILURES = frozenset({"FAILED", "BAD_INPUT"})
Paths = Annotated[list[Path], typer.Argument(help="Files and folders.", show_default=False)]
Model = Annotated[str | None, typer.Option(help="Bundle, as name-version; default: the active one.")]

batch_app = typer.Typer(help="Batches of re-runs.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (ingest, classify, rerun):
        app.command()(verb)


def ingest(
    paths: Paths,
    wrap: Annotated[bool, typer.Option("--wrap", help="Take JPEG and PNG pictures too, each as a study.")] = False,
    as_json: AsJson = False,
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
    if as_json:
        print_json(summary)
    else:
        _show_intake(summary)
        for sentence in intake.skipped.sentences():
            complain(sentence)
    if intake.turned or any(row["outcome"] in FAILURES for row in outcomes):
        raise typer.Exit(1)


def _show_intake(summary: dict[str, Any]) -> None:
    print_facts((name, summary[name]) for name in ("registered", "duplicates", "studies"))
    print_table(summary["outcomes"], {"outcome": "Outcome", "reason": "Reason", "n": "Images"})
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
    if as_json:
        print_json(rows)
    else:
        columns = {"path": "File", "outcome": "Outcome", "label": "Label", "probability": "Probability"}
        print_table(rows, {**columns, "band": "Band", "unlikeness": "Unlikeness", "reason": "Reason", "flags": "Flags"})
        console().print(NOTICE)
    for sentence in skipped.sentences():
        complain(sentence)
    if explain and rows[0]["outcome"] not in FAILURES:
        from worker.explain import explain_file

        write_explained(partial(explain_file, settings, files[0]), explain, model, method)
    if any(row["outcome"] in FAILURES for row in rows):
        raise typer.Exit(1)


def rerun(  # noqa: PLR0917 - an option each
    study: Annotated[list[str] | None, typer.Option(help="Study Instance UID; may be repeated.")] = None,
    accession: Annotated[list[str] | None, typer.Option(help="Accession number; may be repeated.")] = None,
    received_from: Annotated[datetime | None, typer.Option(help="Received at or after (UTC).")] = None,
    received_to: Annotated[datetime | None, typer.Option(help="Received before (UTC).")] = None,
    study_date_from: Annotated[datetime | None, typer.Option(help="Study date from.", formats=["%Y-%m-%d"])] = None,
    study_date_to: Annotated[
        datetime | None, typer.Option(help="Study date to, inclusive.", formats=["%Y-%m-%d"])
    ] = None,
    state: Annotated[list[str] | None, typer.Option(help="State of the study, such as FINAL; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Label of the study; may be repeated.")] = None,
    scored_by: Annotated[str | None, typer.Option(help="Only studies whose answer came from this bundle.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every study.")] = False,
    model: Model = None,
    who: Annotated[str | None, typer.Option(help="Who asks; default: the user's login name.")] = None,
    why: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    keep_current: Annotated[
        bool, typer.Option("--keep-current", help="Add results, leave the worklist as it is.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be re-run and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score stored studies again; results are added, never overwritten. The same call again resumes an open batch."""
    from worker import rerun as reruns
    from worker.db.reruns import Selector

    selector = Selector(
        study_uids=tuple(study or ()),
        accession_numbers=tuple(accession or ()),
        received_from=_utc(received_from),
        received_to=_utc(received_to),
        study_date_from=_date(study_date_from),
        study_date_to=_date(study_date_to),
        states=tuple(item.upper() for item in state or ()),
        labels=tuple(item.upper() for item in label or ()),
        scored_by=scored_by,
        all=every,
    )
    if selector == Selector():
        msg = "say which studies: --study, --accession, --received-from/-to, --study-date-from/-to, --state, --label, --scored-by or --all"
        raise UsageError(msg)
    settings = opened_once()
    database = open_database(settings)
    named = model or active_model(settings, database) or settings.model
    if dry_run:
        found = reruns.preview(database, selector)
        _print_preview(found.studies, found.images, named, as_json=as_json)
        return
    request = reruns.Request(selector, named, who or login(), why, keep_current)
    report = reruns.rerun(settings, database, request)
    _print_report(report, as_json=as_json)
    if report.progress.failed:
        raise typer.Exit(1)


@batch_app.command("list")
def batch_list(
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List batches with their progress."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = queries.batches(session, limit)
    if as_json:
        print_json(rows)
    else:
        print_table(rows, BATCH_COLUMNS)


@batch_app.command("show")
def batch_show(number: Annotated[int, typer.Argument(help="The batch's number.")], as_json: AsJson = False) -> None:
    """Show one batch: who, why, selector, progress, and what flipped."""
    from worker.db import reruns

    database = open_database(opened_once())
    with database.reads() as session:
        row = queries.batch(session, number)
        flips = [flip.as_dict() for flip in reruns.flips(session, number)]
    if row is None:
        msg = f"no batch {number}: see `auscult batch list`"
        raise UsageError(msg)
    if as_json:
        print_json({**row, "flips": flips, "notice": NOTICE})
    else:
        print_facts(row.items())
        _show_flips(flips)


BATCH_COLUMNS = {
    "batch_id": "Batch",
    "model": "Model",
    "who": "Who",
    "why": "Why",
    "created_at": "Created",
    "closed_at": "Closed",
    "n_tasks": "Tasks",
    "n_done": "Done",
    "n_failed": "Failed",
    "n_open": "Open",
}
FLIP_COLUMNS = {
    "study_uid": "Study Instance UID",
    "old_label": "Old label",
    "old_probability": "Old probability",
    "old_model": "Old model",
    "new_label": "New label",
    "new_probability": "New probability",
    "new_model": "New model",
}


def _show_flips(flips: Sequence[dict[str, Any]]) -> None:
    if flips:
        print_table(flips, FLIP_COLUMNS, title="flipped")
    kinds = Counter(f"{flip['old_label']} -> {flip['new_label']}" for flip in flips)
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    console().print(f"{len(flips)} images flipped{': ' + words if words else ''}. {NOTICE}", markup=False)


def _print_preview(studies: int, images: int, model: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "studies": studies, "images": images, "model": model})
    else:
        complain(f"would score {images} images of {studies} studies with {model}; nothing was written")


def _print_report(report: Any, *, as_json: bool) -> None:
    flips = [flip.as_dict() for flip in report.flips]
    counts = {"batch": report.batch_id, "resumed": report.resumed, **report.progress.as_dict()}
    if as_json:
        print_json({**counts, "flipped": len(flips), "flips": flips, "notice": NOTICE})
    else:
        print_facts(counts.items())
        _show_flips(flips)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


def _date(moment: datetime | None) -> date | None:
    return moment.date() if moment else None
