"""Verbs that read: worklist, show, status."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Annotated, Any

import typer

from worker.bootstrap import open_database, silent_after_ms
from worker.cli.conflicts import COLUMNS as CONFLICT_COLUMNS
from worker.cli.explaining import Explain, HowExplained, write_explained
from worker.cli.output import NOTICE, AsJson, console, opened_once, print_facts, print_json, print_table
from worker.db import queries
from worker.errors import UsageError
from worker.hints import BrokerAway, HintPublisher
from worker.settings import Settings

WORKLIST_COLUMNS = {
    "priority_rank": "#",
    "accession_number": "Accession",
    "patient_id": "Patient ID",
    "study_date": "Study date",
    "ai_status": "Status",
    "label": "Label",
    "probability": "Probability",
    "band": "Band",
    "reason": "Reason",
    "flags": "Flags",
    "waiting_s": "Waiting s",
    "study_uid": "Study Instance UID",
}
RESULT_COLUMNS = {
    "result_id": "Result",
    "sop_uid": "SOP Instance UID",
    "created_at": "Created",
    "model": "Model",
    "batch_id": "Batch",
    "outcome": "Outcome",
    "reason": "Reason",
    "flags": "Flags",
    "label": "Label",
    "probability": "Probability",
    "band": "Band",
    "unlikeness": "Unlikeness",
    "decoder": "Decoder",
    "is_current": "Current",
    "supersedes_id": "Supersedes",
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
    for verb in (worklist, show, status):
        app.command()(verb)


def worklist(
    limit: Annotated[int, typer.Option(help="How many studies, in reading order.", min=1)] = 50,
    state: Annotated[list[str] | None, typer.Option(help="Only these states; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only these labels; may be repeated.")] = None,
    as_json: AsJson = False,
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
    if as_json:
        print_json(rows)
    else:
        print_table(rows, WORKLIST_COLUMNS)
        console().print(NOTICE)


def show(
    study: Annotated[str, typer.Argument(help="Study Instance UID or accession number.")],
    explain: Explain = None,
    image: Annotated[
        str | None, typer.Option(help="SOP Instance UID to explain; default: the film that decides.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Bundle that explains; default: the one that judged.")] = None,
    method: HowExplained = "hirescam",
    as_json: AsJson = False,
) -> None:
    """Show one study: its answer and every result it ever had; with --explain why, as a picture."""
    settings = opened_once()
    database = open_database(settings)
    with database.reads() as session:
        found = queries.study_detail(session, study)
    if not found:
        msg = f"no study {study}: give a Study Instance UID or an accession number of the worklist"
        raise UsageError(msg)
    if as_json:
        print_json(found)
    for detail in () if as_json else found:
        print_facts((name, value) for name, value in detail.items() if name not in _LISTED)
        print_table(detail["results"], RESULT_COLUMNS, title="results, newest first")
        if detail["corrections"]:
            print_table(detail["corrections"], CORRECTION_COLUMNS, title="corrections, newest first")
        if detail["conflicts"]:
            print_table(detail["conflicts"], CONFLICT_COLUMNS, title="conflicts, newest first")
    if explain:
        from worker.explain import explain_stored

        write_explained(partial(explain_stored, settings, database, study, image), explain, model, method)


def status(as_json: AsJson = False) -> None:
    """Say whether everything is well: database, queue, workers, broker, disk. Exit code 1 when something is not."""
    from worker.commitment import count_given_up, count_waiting

    settings = opened_once()
    database = open_database(settings)
    with database.reads() as session:
        health = queries.queue_health(session)
        workers = queries.live_workers(session, silent_after_ms(settings))
    report: dict[str, Any] = {
        "database": database.engine.url.render_as_string(hide_password=True),
        "broker": _broker(settings),
        "live_workers": workers,
        "commitments_waiting": count_waiting(settings),
        "commitments_given_up": count_given_up(settings),
        "disk_free_bytes": shutil.disk_usage(settings.home).free,
        **health,
    }
    problems = _problems(report)
    report["problems"] = problems
    if as_json:
        print_json(report)
    else:
        print_facts(report.items())
    if problems:
        raise typer.Exit(1)


def _broker(settings: Settings) -> str:
    publisher = HintPublisher(settings.broker)
    try:
        publisher.check()
    except BrokerAway:
        return "away"
    finally:
        publisher.close()
    return "answers"


def _problems(report: dict[str, Any]) -> list[str]:
    found = []
    if report["broker"] == "away":
        found.append("the broker does not answer: start `auscult up` or check AUSCULT_BROKER_URL")
    if not report["live_workers"]:
        found.append("no worker is alive: start `auscult up` or `auscult work`")
    if report["stale_leases"]:
        found.append("leases have run out that no dispatcher picked up: is `auscult listen` running?")
    if report["commitments_given_up"]:
        found.append("storage commitment: nobody took the answer to requests in spool/commitment/quarantine")
    return found
