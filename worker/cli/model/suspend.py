"""``auscult model suspend`` and ``resume``: withhold the answers of a model in doubt."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common.options import MOMENT, Who, given, order
from worker.cli.common.output import (
    AsCsv,
    AsJson,
    Yes,
    complain,
    confirm,
    console,
    opened_once,
    print_answer,
    print_facts,
)
from worker.database import open_database
from worker.db.schema.states import SuspensionEnd
from worker.errors import UsageError
from worker.models.active import active_model

if TYPE_CHECKING:
    from worker.database import Database
    from worker.db.batches.suspensions import Resumed, SuspensionPreview
    from worker.settings import Settings

#: Required, unlike for other verbs.
Reason = Annotated[str, typer.Option("--why", "--reason", help="Why, for the record.", callback=given)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]


def suspend(
    why: Reason,
    model: Annotated[str | None, typer.Argument(help="Bundle, as name-version; default: the active one.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Last good check (UTC unless it has a zone): answers since then are in doubt; default: the model's last "
            "activation, or the end of its last suspension.",
            **MOMENT,
        ),
    ] = None,
    who: Who = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Withhold a model's NORMAL in the worklist, and flag its PNEUMONIA; it still scores, and its results are kept.

    Both apply to new studies and to its answers since its last good check. 'auscult model resume' ends it.
    """
    from worker.db.batches.suspensions import before_suspending
    from worker.models import lifecycle

    settings = opened_once()
    database = open_database(settings)
    name = model or active_model(settings, database) or settings.model
    model_id = lifecycle.known_model(settings, database, name)
    with database.reads() as session:
        outlook = before_suspending(session, model_id, since)
    if dry_run:
        _report({"model": name, "dry_run": True, **_known(outlook)}, as_json=as_json, as_csv=as_csv)
        return
    confirm(_question_of_suspension(name, outlook), yes=yes)
    affected = lifecycle.suspend(settings, database, name, order(who, why), since)
    complain(f"{name} is suspended" + ("" if affected else " already"))
    if affected:
        _report({"model": name, "since": outlook.since, **asdict(affected)}, as_json=as_json, as_csv=as_csv)


def _question_of_suspension(name: str, outlook: SuspensionPreview) -> str:
    found = outlook.affected
    return (
        f"of the studies that {name} answered since {outlook.since:%Y-%m-%d %H:%M:%S}Z, {found.normal} say NORMAL and "
        f"would withhold it, {found.pneumonia} say PNEUMONIA and would be flagged; NORMAL of new studies is withheld"
    )


def resume(
    why: Reason,
    model: Annotated[str | None, typer.Argument(help="Bundle, as name-version; default: the suspended one.")] = None,
    release: Annotated[
        bool, typer.Option("--release", help="The answers in doubt were right: show them again.")
    ] = False,
    discard: Annotated[
        bool,
        typer.Option("--discard", help="The answers in doubt stay withheld and flagged until a re-run replaces them."),
    ] = False,
    rerun: Annotated[
        bool,
        typer.Option(
            "--rerun", help="Score the films in doubt again with the active model; they stay withheld until then."
        ),
    ] = False,
    who: Who = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """End a suspension, and decide about the answers in doubt; answers to new studies count again."""
    from worker.db.batches.suspensions import before_resuming
    from worker.models import lifecycle

    end = _end(release=release, discard=discard, rerun=rerun)
    settings = opened_once()
    database = open_database(settings)
    name = model or _suspended(database)
    model_id = lifecycle.known_model(settings, database, name)
    with database.reads() as session:
        outlook = before_resuming(session, model_id)
    active = active_model(settings, database)
    if dry_run:
        _report(
            {"model": name, "dry_run": True, **_known(outlook), "films": outlook.films}, as_json=as_json, as_csv=as_csv
        )
        return
    confirm(_question_of_resumption(name, active, outlook, end), yes=yes)
    resumed = lifecycle.resume(settings, database, name, end, order(who, why))
    complain(f"{name} is no longer suspended; its answers in doubt are {_FATES[end]}")
    document = {"model": name, "ended": end.value, "since": outlook.since, **asdict(resumed.affected)}
    _report({**document, **_worked_off(settings, database, resumed)}, as_json=as_json, as_csv=as_csv)


_FATES = {
    SuspensionEnd.RELEASED: "shown as they were",
    SuspensionEnd.DISCARDED: "withheld and flagged until a re-run replaces them",
    SuspensionEnd.REQUEUED: "withheld and flagged until the re-run replaces them",
}


def _end(*, release: bool, discard: bool, rerun: bool) -> SuspensionEnd:
    choices = {SuspensionEnd.RELEASED: release, SuspensionEnd.DISCARDED: discard, SuspensionEnd.REQUEUED: rerun}
    chosen = [end for end, is_chosen in choices.items() if is_chosen]
    if len(chosen) != 1:
        msg = "decide about the answers in doubt: give one of --release, --discard and --rerun"
        raise UsageError(msg)
    return chosen[0]


def _suspended(database: Database) -> str:
    from worker.db.batches.suspensions import suspended_models

    with database.reads() as session:
        found = suspended_models(session)
    if len(found) != 1:
        msg = f"name the model: {', '.join(found)} are suspended" if found else "no model is suspended"
        raise UsageError(msg)
    return found[0]


def _question_of_resumption(name: str, active: str | None, outlook: SuspensionPreview, end: SuspensionEnd) -> str:
    found = outlook.affected
    withheld, pneumonia = f"{found.withheld} studies that withhold an answer", f"{found.pneumonia} that say PNEUMONIA"
    if end is SuspensionEnd.RELEASED:
        return f"{withheld} would say NORMAL again unless another doubt is open, and {pneumonia} would lose the flag"
    if end is SuspensionEnd.DISCARDED:
        return f"{withheld} and {pneumonia} would stay so until a re-run replaces them"
    same = "; the same model gives the same film the same score" if active == name else ""
    return f"{outlook.films} films in {withheld} and {pneumonia} would be scored again with {active}{same}"


def _worked_off(settings: Settings, database: Database, resumed: Resumed) -> dict[str, Any]:
    """Work off the batch of a re-run, as `auscult rerun` does."""
    if resumed.batch is None:
        return {}
    from worker.batches.rerun import follow

    report = follow(settings, database, resumed.batch)
    counts = {"batch": report.batch_id, "scored_by": resumed.model, **report.progress.as_dict()}
    return {**counts, "flipped": len(report.flips)}


def _known(outlook: SuspensionPreview) -> dict[str, Any]:
    return {"since": outlook.since, **asdict(outlook.affected)}


def _report(row: dict[str, Any], *, as_json: bool, as_csv: bool) -> None:
    def show() -> None:
        print_facts(row.items())
        console().print(NOTICE)

    print_answer({**row, "notice": NOTICE}, [row], show, as_json=as_json, as_csv=as_csv)
