"""The verb ``purge``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common.options import Texts, Who, Why, upper
from worker.cli.common.output import (
    AsCsv,
    AsJson,
    Yes,
    complain,
    confirm,
    opened_once,
    print_answer,
    print_facts,
    print_table,
)
from worker.cli.upkeep.records import Ask, purge_records
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.retention.purge import PurgeOutlook

GO_COLUMNS = {"file": "File", "reason": "Why", "studies": "Studies", "files": "Files", "bytes": "Bytes"}
KEPT_COLUMNS = {"file": "File", "reason": "Stays because", "files": "Files"}


def purge(
    originals_days: Annotated[
        int | None, typer.Option(help="Age of originals, days; default: the setting. 0: none go by age.", min=0)
    ] = None,
    films_days: Annotated[
        int | None, typer.Option(help="Age of films, days; default: the setting. 0: none go by age.", min=0)
    ] = None,
    free_mb: Annotated[
        int | None, typer.Option(help="Free space to reach, MiB; default: the setting. 0: none go for space.", min=0)
    ] = None,
    state: Annotated[
        Texts, typer.Option(help="State of studies that may be purged; may be repeated; default: the setting.")
    ] = None,
    records: Annotated[
        bool, typer.Option("--records", help="Remove whole studies whose floor has passed, with all their rows.")
    ] = False,
    study: Annotated[Texts, typer.Option(help="With --records: only this Study Instance UID; may be repeated.")] = None,
    below_floor: Annotated[
        bool,
        typer.Option("--below-floor", help="With --records, --study and --why: before the floor; goes on record."),
    ] = False,
    who: Who = None,
    why: Why = "",
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go and what stays.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Remove originals and films that the site's rules no longer keep; with --records whole studies beyond their floor.

    Never what is unfinished, in conflict, withdrawn within its period, undelivered, or promised by storage commitment.
    """
    from worker.retention import purge as purging
    from worker.retention.policy import FilePolicy

    of_files = (originals_days, films_days, free_mb, state or None)
    if records:
        if any(value is not None for value in of_files):
            msg = "--records has no rules of originals and films: leave out their options"
            raise UsageError(msg)
        ask = Ask(study or (), below_floor, who or "", why, yes, dry_run, as_json, as_csv)
        purge_records(ask)
        return
    if study or below_floor:
        msg = "--study and --below-floor are options of --records"
        raise UsageError(msg)
    settings = opened_once()
    policy = FilePolicy.of(
        settings,
        purge_originals_days=originals_days,
        purge_films_days=films_days,
        purge_free_mb=free_mb,
        purge_states=_states(state),
    )
    if not policy.is_on:
        msg = "no rule lets anything go: give --originals-days, --films-days or --free-mb, or set AUSCULT_PURGE_ORIGINALS_DAYS"
        raise UsageError(msg)
    database = open_database(settings)
    outlook = purging.outlook(settings, database, policy)
    if dry_run:
        _print_outlook(outlook, as_json=as_json, as_csv=as_csv)
        return
    if not outlook.files:
        _print_outlook(outlook, as_json=as_json, as_csv=as_csv)
        complain("nothing may go")
        return
    if not (as_json or as_csv):
        print_table([item.as_dict() for item in outlook.go], GO_COLUMNS)
    confirm(f"{outlook.files} files ({_size(outlook.bytes)}) would be removed for good; results stay", yes=yes)
    report = purging.purge(settings, database, policy, actor=Actor.user(who or ""), why=why).as_dict()
    print_answer(report, [report], lambda: print_facts(report.items()), as_json=as_json, as_csv=as_csv)
    if report["not_removed"]:
        raise typer.Exit(1)


def _states(words: Texts) -> tuple[str, ...] | None:
    from worker.options.retention import PURGEABLE_STATES

    states = upper(words) or None
    if states and not set(states) <= set(PURGEABLE_STATES):
        msg = f"--state is one of {', '.join(PURGEABLE_STATES)}: studies in other states are not finished"
        raise UsageError(msg)
    return states


def _print_outlook(outlook: PurgeOutlook, *, as_json: bool, as_csv: bool) -> None:
    go, kept = [item.as_dict() for item in outlook.go], [item.as_dict() for item in outlook.kept]
    document = {
        "dry_run": True,
        "files": outlook.files,
        "bytes": outlook.bytes,
        "free_bytes": outlook.free,
        "short_bytes": outlook.short,
        "go": go,
        "kept": kept,
    }

    def show() -> None:
        if go:
            print_table(go, GO_COLUMNS)
        if kept:
            print_table(kept, KEPT_COLUMNS)
        complain(f"would remove {outlook.files} files, {_size(outlook.bytes)}; nothing was removed")
        if outlook.short:
            complain(f"{_size(outlook.short)} would still be missing: no rule lets more go")

    rows = [{"fate": "GO", **row} for row in go] + [{"fate": "STAYS", **row} for row in kept]
    print_answer(document, rows, show, as_json=as_json, as_csv=as_csv)


def _size(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
