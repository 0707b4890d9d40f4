"""``auscult patient erase``: what is held of one person goes, for their own request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common.options import Issuer, PatientId, Who, given
from worker.cli.common.output import AsJson, Yes, complain, confirm, opened_once, print_facts, print_json, print_table
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.retention.erase import ErasureOutlook

STAYS_COLUMNS = {"what": "What", "name": "UID or key", "reason": "Stays because", "until": "Until", "sentence": "Why"}


def erase(
    patient_id: PatientId,
    why: Annotated[str, typer.Option(help="Why, for the record; without the person's name or number.", callback=given)],
    issuer: Issuer = None,
    below_floor: Annotated[
        bool, typer.Option("--below-floor", help="Erase rows before their floor of retention; goes on record.")
    ] = False,
    who: Who = None,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go and what stays.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase what is held of one person, for their own request (GDPR, article 17), and name what stays and why.

    Rows stay until the floor of retention has passed. What is unfinished, in conflict, withdrawn within its period or
    promised by storage commitment stays with its files.
    """
    from worker.intake.folders import spools
    from worker.retention import erase as erasing
    from worker.retention.policy import record_rule

    _check(why, patient_id)
    settings = opened_once()
    database = open_database(settings)
    rule = record_rule(settings, below_floor=below_floor)
    request = erasing.Request(patient_id, issuer, rule, spools(settings))
    outlook = erasing.outlook(database, request)
    if outlook.is_empty:
        msg = "nothing is held of this Patient ID"
        raise UsageError(msg)
    if dry_run or not outlook.takes_something:
        _print_outlook(outlook, dry_run=dry_run, as_json=as_json)
        return
    if not as_json:
        _print_outlook(outlook, dry_run=False, as_json=False)
    floor = ", below the floor of retention" if below_floor else ""
    confirm(f"{_going(outlook)} would be erased for good{floor}", yes=yes)
    report = erasing.erase(settings, database, request, actor=Actor.user(who or ""), why=why)
    if as_json:
        print_json(report.as_dict())
    else:
        print_facts((name, value) for name, value in report.as_dict().items() if name not in ("stays", "recipients"))
        _print_stays([row for each in report.stays for row in each.as_rows()])
        _tell_recipients(report.recipients)
    if not report.is_overwritten:
        complain("the database was busy, so its file may hold what was erased: run the command again later")
    if not report.is_complete:
        raise typer.Exit(1)


def _check(why: str, patient_id: str) -> None:
    if patient_id and patient_id in why:
        msg = "--why names the Patient ID: it stays on record, so give a reason without it"
        raise UsageError(msg)


def _going(outlook: ErasureOutlook) -> str:
    files = sum(each.files_go for each in outlook.stays)
    parts = [
        f"{len(outlook.studies)} studies with their files" if outlook.studies else "",
        f"originals and films of {files} studies" if files else "",
        f"{len(outlook.set_aside)} objects in quarantine" if outlook.set_aside else "",
    ]
    return ", ".join(part for part in parts if part)


def _print_outlook(outlook: ErasureOutlook, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": dry_run} | outlook.as_dict())
        return
    _print_stays([row for each in outlook.stays for row in each.as_rows()])
    if dry_run:
        _tell_recipients(outlook.recipients)
        complain(f"would erase {_going(outlook) or 'nothing'}; nothing was erased")
    elif not outlook.takes_something:
        complain("nothing may be erased now")


def _tell_recipients(names: list[str]) -> None:
    if names:
        complain(f"answers about this person were delivered to {', '.join(names)}: have them deleted there")


def _print_stays(rows: list[dict[str, object]]) -> None:
    if rows:
        print_table(rows, STAYS_COLUMNS)
