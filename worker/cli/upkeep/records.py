"""What ``auscult purge --records`` asks and says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from worker.cli.common.output import complain, confirm, opened_once, print_answer, print_facts, print_table
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.retention.records import RecordsOutlook

GO_COLUMNS = {"study_uid": "Study Instance UID", "side": "Side", "floor": "Floor"}
KEPT_COLUMNS = {"reason": "Stays because", "studies": "Studies"}


@dataclass(frozen=True, slots=True)
class Ask:
    """How the command was called."""

    studies: Sequence[str]
    below_floor: bool
    who: str
    why: str
    yes: bool
    dry_run: bool
    as_json: bool
    as_csv: bool


def purge_records(ask: Ask) -> None:
    """Remove the rows of studies whose floor has passed, after their files."""
    from worker.retention import records
    from worker.retention.policy import record_rule

    if ask.below_floor and not (ask.studies and ask.why.strip()):
        msg = "--below-floor undercuts the floor of retention: name the studies by --study and the reason by --why"
        raise UsageError(msg)
    settings = opened_once()
    rule = record_rule(settings, below_floor=ask.below_floor)
    if rule.floor is None and not ask.below_floor:
        msg = (
            "nothing may go: set AUSCULT_KEEP_YEARS and AUSCULT_KEEP_UNTIL_BIRTHDAY, for how long the law that holds for "
            "you keeps records (0: no such rule)"
        )
        raise UsageError(msg)
    database = open_database(settings)
    outlook = records.outlook(database, rule, ask.studies)
    if ask.dry_run or not outlook.go:
        _print_outlook(outlook, ask)
        return
    if not (ask.as_json or ask.as_csv):
        _show(outlook)
    floor = ", below the floor of retention" if ask.below_floor else ""
    confirm(f"{outlook.go} studies would be removed for good{floor}, with files, results and history", yes=ask.yes)
    order = records.RecordsOrder(rule, Actor.user(ask.who), ask.why, ask.studies)
    report = records.purge_records(settings, database, order).as_dict()
    print_answer(report, [report], lambda: print_facts(report.items()), as_json=ask.as_json, as_csv=ask.as_csv)
    if report["not_removed"]:
        raise typer.Exit(1)


def _print_outlook(outlook: RecordsOutlook, ask: Ask) -> None:
    document = {"dry_run": ask.dry_run} | outlook.as_dict()
    rows = [{"fate": "STAYS", **row} for row in document["kept"]]
    print_answer(
        document,
        [{"fate": "GO", "reason": None, "studies": outlook.go}, *rows],
        lambda: _show(outlook),
        as_json=ask.as_json,
        as_csv=ask.as_csv,
    )
    if ask.dry_run:
        complain(f"would remove {outlook.go} studies; nothing was removed")
    else:
        complain("nothing may go")


def _show(outlook: RecordsOutlook) -> None:
    document = outlook.as_dict()
    if document["named"]:
        print_table(document["named"], GO_COLUMNS)
    if outlook.go > len(outlook.named):
        complain(f"and {outlook.go - len(outlook.named)} more")
    if document["kept"]:
        print_table(document["kept"], KEPT_COLUMNS)
    if outlook.next_floor:
        complain(f"the next of these studies may go on {outlook.next_floor}")
