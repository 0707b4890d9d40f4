"""The verb ``rerun``."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common.options import DAY, MOMENT, ModelName, Texts, Who, Why, upper
from worker.cli.common.output import (
    AsCsv,
    AsJson,
    Yes,
    complain,
    confirm,
    opened_once,
    print_answer,
    print_facts,
)
from worker.cli.common.wording import FLIP_KEYS, results_of_batch, show_flips
from worker.database import open_database
from worker.environment import login
from worker.errors import UsageError
from worker.models.active import active_model

if TYPE_CHECKING:
    from worker.batches.rerun import RerunOutlook, RerunReport


def rerun(
    study: Annotated[Texts, typer.Option(help="Study Instance UID; may be repeated.")] = None,
    accession: Annotated[Texts, typer.Option(help="Accession number; may be repeated.")] = None,
    patient: Annotated[Texts, typer.Option(help="Patient ID; may be repeated.")] = None,
    sender: Annotated[Texts, typer.Option(help="Films that this AE title sent; may be repeated.")] = None,
    received_from: Annotated[
        datetime | None,
        typer.Option(help="Received at or after this time (UTC unless it has a zone).", **MOMENT),
    ] = None,
    received_to: Annotated[
        datetime | None, typer.Option(help="Received before this time (UTC unless it has a zone).", **MOMENT)
    ] = None,
    study_date_from: Annotated[date | None, typer.Option(help="Study date from.", **DAY)] = None,
    study_date_to: Annotated[date | None, typer.Option(help="Study date to, inclusive.", **DAY)] = None,
    state: Annotated[Texts, typer.Option(help="State of the study, such as FINAL; may be repeated.")] = None,
    label: Annotated[Texts, typer.Option(help="Label of the study; may be repeated.")] = None,
    reason: Annotated[Texts, typer.Option(help="Films with this reason, such as TIMED_OUT; may be repeated.")] = None,
    outcome: Annotated[
        Texts, typer.Option(help="Films with this outcome: OK, NOT_APPLICABLE, BAD_INPUT or FAILED; may be repeated.")
    ] = None,
    flag: Annotated[Texts, typer.Option(help="Films whose answer has this flag; may be repeated.")] = None,
    scored_by: Annotated[
        str | None, typer.Option(help="Only studies that this bundle answered, as name-version.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every study.")] = False,
    withdrawn: Annotated[
        bool, typer.Option("--include-withdrawn", help="Also films that were withdrawn by a rejection note.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="At most this many studies, the earliest received.", min=1)] = None,
    sample: Annotated[int | None, typer.Option(help="At most this many studies, drawn at random.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of --sample: the same seed draws the same studies.", min=0)] = 0,
    model: ModelName = None,
    who: Who = None,
    why: Why = "",
    make_current: Annotated[
        bool,
        typer.Option(
            "--make-current", help="Show the results in the worklist although the model is not the active one."
        ),
    ] = False,
    keep_current: Annotated[
        bool, typer.Option("--keep-current", help="Only add results; the worklist stays as it is.")
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be re-run.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Score stored films again. Results are added and never overwritten; the same command again resumes an open batch.

    Results of the active model become current. Results of another model are only added, unless --make-current is given
    and confirmed. --reason, --outcome, --flag and --sender choose films; the other selectors choose whole studies.
    """
    from worker.batches import rerun as reruns
    from worker.db.batches.selection import Selector
    from worker.db.identity.aliases import surviving_id

    selector = Selector(
        study_uids=tuple(study or ()),
        accession_numbers=tuple(accession or ()),
        patient_ids=tuple(patient or ()),
        senders=tuple(sender or ()),
        received_from=received_from,
        received_to=received_to,
        study_date_from=study_date_from,
        study_date_to=study_date_to,
        states=upper(state),
        labels=upper(label),
        reasons=upper(reason),
        outcomes=upper(outcome),
        flags=upper(flag),
        scored_by=scored_by,
        all=every,
        withdrawn=withdrawn,
        limit=limit,
        sample=sample,
        seed=seed if sample else 0,
    )
    if selector.is_empty:
        msg = "name the films by --study, --accession, --patient, --state, --reason, --received-from, another selector, or --all"
        raise UsageError(msg)
    mode = _mode(make_current=make_current, keep_current=keep_current)
    settings = opened_once()
    database = open_database(settings)
    if patient:
        # By the ID that a merge let survive, which is that of the studies.
        with database.reads() as session:
            selector = replace(selector, patient_ids=tuple(surviving_id(session, one) for one in patient))
    active = active_model(settings, database) or settings.model
    request = reruns.RerunRequest(selector, model or active, who or login(), why, mode)
    outlook = reruns.outlook(settings, database, request, active)
    if dry_run:
        _print_outlook(outlook, as_json=as_json, as_csv=as_csv)
        return
    if outlook.resumes is not None:
        complain(f"resuming batch {outlook.resumes}, whose results are {results_of_batch(outlook.keep_current)}")
    elif outlook.replaces:
        confirm(outlook.question(), yes=yes)
    report = reruns.rerun(settings, database, request, keep_current=outlook.keep_current)
    _print_report(report, as_json=as_json, as_csv=as_csv)
    if report.progress.failed:
        raise typer.Exit(1)


def _mode(*, make_current: bool, keep_current: bool) -> Any:
    from worker.batches.rerun import Mode

    if make_current and keep_current:
        msg = "--make-current and --keep-current cannot be combined: give one of them"
        raise UsageError(msg)
    if make_current:
        return Mode.MAKE_CURRENT
    return Mode.KEEP_CURRENT if keep_current else Mode.BY_MODEL


def _print_outlook(outlook: RerunOutlook, *, as_json: bool, as_csv: bool) -> None:
    studies, images, model = outlook.matching.studies, outlook.matching.images, outlook.model
    document = {
        "dry_run": True,
        "studies": studies,
        "images": images,
        "model": model,
        "keep_current": outlook.keep_current,
    }

    def show() -> None:
        fate = results_of_batch(outlook.keep_current)
        complain(f"would score {images} images of {studies} studies with {model}, {fate}; nothing was written")

    print_answer(document, [document], show, as_json=as_json, as_csv=as_csv)


def _print_report(report: RerunReport, *, as_json: bool, as_csv: bool) -> None:
    flips = [flip.as_dict() for flip in report.flips]
    counts = {
        "batch": report.batch_id,
        "resumed": report.resumed,
        "keep_current": report.keep_current,
        **report.progress.as_dict(),
    }

    def show() -> None:
        print_facts([*counts.items(), ("results", results_of_batch(report.keep_current))])
        show_flips(flips)

    document = {**counts, "flipped": len(flips), "flips": flips, "notice": NOTICE}
    print_answer(document, flips, show, FLIP_KEYS, as_json=as_json, as_csv=as_csv)
