"""``auscult rerun`` and ``auscult batch``: score stored films again, and look at what re-runs did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.bootstrap import active_model, open_database
from worker.cli.output import (
    NOTICE,
    AsCsv,
    AsJson,
    Yes,
    complain,
    confirm,
    console,
    login,
    opened_once,
    print_answer,
    print_facts,
    print_table,
)
from worker.cli.verbs import Verbs
from worker.db import queries
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.rerun import Outlook, Report

Texts = list[str] | None
Number = Annotated[int, typer.Argument(help="The batch's number.")]
#: With a zone, as Auscult prints times, or without: then in UTC.
MOMENTS = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%d %H:%M:%S%z",
]
DAYS = ["%Y-%m-%d", "%Y%m%d"]
#: What the results of a batch are to the worklist, by its column keep_current.
ADDED, CURRENT = "only added", "current"
BATCH_COLUMNS = {
    "batch_id": "Batch",
    "model": "Model",
    "results": "Results",
    "who": "Who",
    "created_at": "Created",
    "n_tasks": "Films",
    "n_failed": "Failed",
    "n_open": "Open",
}
FLIP_COLUMNS = {"study_uid": "Study Instance UID", "before": "Before", "after": "After"}
FLIP_KEYS = (
    "study_uid",
    "sop_uid",
    "old_label",
    "old_probability",
    "old_model",
    "new_label",
    "new_probability",
    "new_model",
)

batch_app = Verbs(help="Batches of re-runs.")


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(rerun)


def rerun(
    study: Annotated[Texts, typer.Option(help="Study Instance UID; may be repeated.")] = None,
    accession: Annotated[Texts, typer.Option(help="Accession number; may be repeated.")] = None,
    patient: Annotated[Texts, typer.Option(help="Patient ID; may be repeated.")] = None,
    sender: Annotated[Texts, typer.Option(help="Films that this calling AE title sent; may be repeated.")] = None,
    received_from: Annotated[
        datetime | None, typer.Option(help="Received at or after (UTC unless it has a zone).", formats=MOMENTS)
    ] = None,
    received_to: Annotated[
        datetime | None, typer.Option(help="Received before (UTC unless it has a zone).", formats=MOMENTS)
    ] = None,
    study_date_from: Annotated[datetime | None, typer.Option(help="Study date from.", formats=DAYS)] = None,
    study_date_to: Annotated[datetime | None, typer.Option(help="Study date to, inclusive.", formats=DAYS)] = None,
    state: Annotated[Texts, typer.Option(help="State of the study, such as FINAL; may be repeated.")] = None,
    label: Annotated[Texts, typer.Option(help="Label of the study; may be repeated.")] = None,
    reason: Annotated[Texts, typer.Option(help="Films with this reason, such as TIMEOUT; may be repeated.")] = None,
    outcome: Annotated[
        Texts, typer.Option(help="Films that ended so: OK, NOT_APPLICABLE, BAD_INPUT or FAILED; may be repeated.")
    ] = None,
    flag: Annotated[Texts, typer.Option(help="Films answered with this flag; may be repeated.")] = None,
    scored_by: Annotated[str | None, typer.Option(help="Only studies whose answer came from this bundle.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every study.")] = False,
    limit: Annotated[int | None, typer.Option(help="At most so many studies, those received first.", min=1)] = None,
    sample: Annotated[int | None, typer.Option(help="At most so many studies, drawn at random.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of --sample: the same seed draws the same studies.", min=0)] = 0,
    model: Annotated[str | None, typer.Option(help="Bundle, as name-version; default: the active one.")] = None,
    who: Annotated[str | None, typer.Option(help="Who asks; default: the user's login name.")] = None,
    why: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    make_current: Annotated[
        bool, typer.Option("--make-current", help="Let a model that is not the active one answer in the worklist.")
    ] = False,
    keep_current: Annotated[
        bool, typer.Option("--keep-current", help="Add results, leave the worklist as it is.")
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be re-run and stop.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Score stored films again; results are added, never overwritten. The same call again resumes an open batch.

    Results of the active model become current. Those of another model are only added, unless --make-current is given
    and confirmed. --reason, --outcome, --flag and --sender choose films, everything else whole studies.
    """
    from worker import rerun as reruns
    from worker.db.selection import Selector

    selector = Selector(
        study_uids=tuple(study or ()),
        accession_numbers=tuple(accession or ()),
        patient_ids=tuple(patient or ()),
        senders=tuple(sender or ()),
        received_from=_utc(received_from),
        received_to=_utc(received_to),
        study_date_from=_date(study_date_from),
        study_date_to=_date(study_date_to),
        states=_upper(state),
        labels=_upper(label),
        reasons=_upper(reason),
        outcomes=_upper(outcome),
        flags=_upper(flag),
        scored_by=scored_by,
        all=every,
        limit=limit,
        sample=sample,
        seed=seed if sample else 0,
    )
    if selector.is_empty:
        msg = "say which films: by --study, --accession, --patient, --state, --reason, --received-from, another selector, or --all"
        raise UsageError(msg)
    mode = _mode(make_current=make_current, keep_current=keep_current)
    settings = opened_once()
    database = open_database(settings)
    active = active_model(settings, database) or settings.model
    request = reruns.Request(selector, model or active, who or login(), why, mode)
    outlook = reruns.outlook(settings, database, request, active)
    if dry_run:
        _print_outlook(outlook, as_json=as_json, as_csv=as_csv)
        return
    if outlook.resumes is not None:
        complain(f"going on with batch {outlook.resumes}, whose results are {_fate(outlook.keep_current)}")
    elif outlook.replaces:
        confirm(outlook.question(), yes=yes)
    report = reruns.rerun(settings, database, request, keep_current=outlook.keep_current)
    _print_report(report, as_json=as_json, as_csv=as_csv)
    if report.progress.failed:
        raise typer.Exit(1)


def _mode(*, make_current: bool, keep_current: bool) -> Any:
    from worker.rerun import Mode

    if make_current and keep_current:
        msg = "--make-current and --keep-current contradict each other: give one of them"
        raise UsageError(msg)
    if make_current:
        return Mode.MAKE_CURRENT
    return Mode.KEEP_CURRENT if keep_current else Mode.BY_MODEL


@batch_app.command("list")
def batch_list(
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 50,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List batches with their progress."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = queries.batches(session, limit)

    def show() -> None:
        print_table([{**row, "results": _fate(row["keep_current"])} for row in rows], BATCH_COLUMNS)

    print_answer(rows, rows, show, as_json=as_json, as_csv=as_csv)


@batch_app.command("show")
def batch_show(number: Number, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Show one batch: who, why, selector, progress, what became of its results, and what flipped."""
    from worker.db import reruns

    database = open_database(opened_once())
    with database.reads() as session:
        row = queries.batch(session, number)
        flips = [flip.as_dict() for flip in reruns.flips(session, number)]
    if row is None:
        msg = f"no batch {number}: see `auscult batch list`"
        raise UsageError(msg)

    def show() -> None:
        print_facts([*row.items(), ("results", _fate(row["keep_current"]))])
        _show_flips(flips)

    print_answer({**row, "flips": flips, "notice": NOTICE}, flips, show, FLIP_KEYS, as_json=as_json, as_csv=as_csv)


def _fate(keep_current: bool) -> str:
    return ADDED if keep_current else CURRENT


def _show_flips(flips: Sequence[dict[str, Any]]) -> None:
    if flips:
        rows = [{**flip, "before": _answer(flip, "old"), "after": _answer(flip, "new")} for flip in flips]
        print_table(rows, FLIP_COLUMNS, title="flipped")
    kinds = Counter(f"{flip['old_label']} -> {flip['new_label']}" for flip in flips)
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    console().print(f"{len(flips)} images flipped{': ' + words if words else ''}. {NOTICE}", markup=False)


def _answer(flip: dict[str, Any], which: str) -> str:
    label, probability = flip[f"{which}_label"], flip[f"{which}_probability"]
    return f"{label} {probability:.3f}" if label else "no label"


def _print_outlook(outlook: Outlook, *, as_json: bool, as_csv: bool) -> None:
    studies, images, model = outlook.matching.studies, outlook.matching.images, outlook.model
    document = {
        "dry_run": True,
        "studies": studies,
        "images": images,
        "model": model,
        "keep_current": outlook.keep_current,
    }

    def show() -> None:
        fate = _fate(outlook.keep_current)
        complain(f"would score {images} images of {studies} studies with {model}, {fate}; nothing was written")

    print_answer(document, [document], show, as_json=as_json, as_csv=as_csv)


def _print_report(report: Report, *, as_json: bool, as_csv: bool) -> None:
    flips = [flip.as_dict() for flip in report.flips]
    counts = {
        "batch": report.batch_id,
        "resumed": report.resumed,
        "keep_current": report.keep_current,
        **report.progress.as_dict(),
    }

    def show() -> None:
        print_facts([*counts.items(), ("results", _fate(report.keep_current))])
        _show_flips(flips)

    document = {**counts, "flipped": len(flips), "flips": flips, "notice": NOTICE}
    print_answer(document, flips, show, FLIP_KEYS, as_json=as_json, as_csv=as_csv)


def _upper(words: Texts) -> tuple[str, ...]:
    return tuple(item.upper() for item in words or ())


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)


def _date(moment: datetime | None) -> date | None:
    return moment.date() if moment else None
