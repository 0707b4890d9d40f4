"""``auscult audit``: list the audit trail, send it to a syslog receiver or a file, and see who has what of it."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common.options import MOMENT, Texts, Who, Why, upper
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
from worker.cli.common.verbs import Verbs
from worker.database import open_database
from worker.db.audit import export, read
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.identity.rules import Patient
from worker.db.schema.views import AUDIT, AUDIT_OBJECTS
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.db.audit.purge import AuditCutoffs
    from worker.db.schema.views import Row
    from worker.settings import Settings

app = Verbs(help="The audit trail: who did what, and when (DICOM PS3.15).")

COLUMNS = {
    "event_id": "Event",
    "at": "At",
    "act": "Act",
    "outcome": "Outcome",
    "who": "Who",
    "from_where": "From",
    "study_uid": "Study Instance UID",
}
OBJECT_COLUMNS = {
    "study_uid": "Study Instance UID",
    "side": "Side",
    "patient_id": "Patient ID",
}
DESTINATION_COLUMNS = {
    "destination": "Destination",
    "last_event_id": "Sent up to",
    "at": "Last sent",
    "waiting": "Waiting",
}


@app.command("list")
def audit_list(
    limit: Annotated[int, typer.Option(help="How many events, the newest first.", min=1)] = 50,
    since: Annotated[datetime | None, typer.Option(help="Only events since then, UTC.", **MOMENT)] = None,
    study: Annotated[str | None, typer.Option(help="Only events that name this Study Instance UID.")] = None,
    patient: Annotated[str | None, typer.Option(help="Only events that name this Patient ID.")] = None,
    act: Annotated[Texts, typer.Option(help="Only these acts, such as MODEL_ACTIVATED; may be repeated.")] = None,
    who: Annotated[str | None, typer.Option(help="Only events of this user, AE title or process.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List events, the newest first; looking at the trail is an event too."""
    acts = upper(act)
    if unknown := sorted(set(acts) - set(Act)):
        msg = f"unknown act {', '.join(unknown)}: the acts are {', '.join(sorted(Act))}"
        raise UsageError(msg)
    database = open_database(opened_once())
    with database.sessions.begin() as session:
        key = Patient.of(patient, "").key if patient else None
        wanted = read.Wanted(limit=limit, since=since, study_uid=study, patient_key=key, acts=acts, who=who)
        rows = read.events(session, wanted)
        told = {"events": len(rows), "acts": list(acts), "study": study or ""}
        record(session, Act.AUDIT_READ, Actor.user(), patient_key=key or "", detail=told)
    print_answer(rows, rows, lambda: print_table(rows, COLUMNS), AUDIT.c.keys(), as_json=as_json, as_csv=as_csv)


@app.command("show")
def audit_show(
    number: Annotated[int, typer.Argument(help="The event's number.", show_default=False)],
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show one event and every study and patient that it names; looking at it is an event too."""
    database = open_database(opened_once())
    with database.sessions.begin() as session:
        event, objects = read.event(session, number)
        if event is None:
            msg = f"no event {number}: see `auscult audit list`"
            raise UsageError(msg)
        record(session, Act.AUDIT_READ, Actor.user(), detail={"event": number})

    def show() -> None:
        print_facts(event.items())
        print_table(objects, OBJECT_COLUMNS, title="studies and patients that it names")

    document = {**event, "objects": objects}
    print_answer(document, objects, show, AUDIT_OBJECTS.c.keys(), as_json=as_json, as_csv=as_csv)


@app.command("export")
def audit_export(
    jsonl: Annotated[Path | None, typer.Option(help="File of JSON lines to append to.")] = None,
    syslog: Annotated[
        str | None, typer.Option(help="Syslog receiver, tls://HOST:PORT; default: AUSCULT_AUDIT_SYSLOG.")
    ] = None,
) -> None:
    """Send every event that a file or a syslog receiver does not have yet; the same command again continues."""
    settings = opened_once()
    if jsonl and syslog:
        msg = "--jsonl and --syslog cannot be combined: give one of them"
        raise UsageError(msg)
    destination, send = _destination(settings, jsonl, syslog)
    from worker.auditing.forward import Forwarder

    database = open_database(settings)
    with database.sessions.begin() as session:
        record(session, Act.AUDIT_READ, Actor.user(), detail={"destination": destination})
        last = read.newest(session)
    sent = Forwarder(database, destination, send).send_until(last)
    complain(f"{sent} events sent to {destination}")


def _destination(
    settings: Settings, jsonl: Path | None, syslog: str | None
) -> tuple[str, Callable[[Sequence[Row]], None]]:
    from worker.addresses import syslog_receiver
    from worker.auditing.forward import to_file, to_syslog

    if jsonl is not None:
        path = jsonl.absolute()
        if not path.parent.is_dir():
            msg = f"the folder {path.parent} does not exist: make it, or name a file in another"
            raise UsageError(msg)
        return f"file:{path}", to_file(path)
    try:
        receiver = syslog_receiver(syslog) if syslog else settings.syslog
    except ValueError as error:
        raise UsageError(str(error)) from error
    if receiver is None:
        msg = "name a destination: --jsonl FILE, --syslog tls://HOST:PORT, or the setting AUSCULT_AUDIT_SYSLOG"
        raise UsageError(msg)
    if settings.tls is None:
        msg = "syslog goes over TLS: set AUSCULT_TLS_CERT, AUSCULT_TLS_KEY and AUSCULT_TLS_CA"
        raise UsageError(msg)
    return str(receiver), to_syslog(receiver, settings.tls)


@app.command("destinations")
def audit_destinations(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List where the trail is sent to, and how many events each destination lacks."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = export.destinations(session)
    keys = tuple(DESTINATION_COLUMNS)
    print_answer(rows, rows, lambda: print_table(rows, DESTINATION_COLUMNS), keys, as_json=as_json, as_csv=as_csv)


@app.command("forget")
def audit_forget(
    destination: Annotated[str, typer.Argument(help="A destination, as `audit destinations` lists it.")],
) -> None:
    """Forget a destination that will not come back; events that it lacks may be purged then."""
    database = open_database(opened_once())
    with database.sessions.begin() as session:
        if not export.forget(session, destination):
            msg = f"no destination {destination}: see `auscult audit destinations`"
            raise UsageError(msg)
        record(session, Act.SETTINGS_CHANGED, Actor.user(), detail={"forgotten_destination": destination})
    complain(f"{destination} is forgotten; sending to it again would begin with the oldest event")


@app.command("purge")
def audit_purge(
    before: Annotated[
        datetime | None,
        typer.Option(help="Only events before then, UTC; default: all that the floor lets go.", **MOMENT),
    ] = None,
    below_floor: Annotated[
        bool, typer.Option("--below-floor", help="With --before and --why: also events before their floor.")
    ] = False,
    who: Who = None,
    why: Why = "",
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many events would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete audit events whose floor of retention has passed, by the account that owns the tables.

    An event about a person stays until the later of AUSCULT_KEEP_YEARS and AUSCULT_KEEP_UNTIL_BIRTHDAY years after it.
    """
    from worker.database import owner_engine
    from worker.db.audit.purge import count_due, purge_audit
    from worker.db.schema.engine import session_factory

    settings = opened_once()
    cutoffs = _cutoffs(settings, before, why, below_floor=below_floor)
    database = open_database(settings)
    with database.reads() as session:
        due = count_due(session, cutoffs)
    found = {
        "events": due,
        "before": cutoffs.general,
        "of_persons_before": cutoffs.person,
        "dry_run": dry_run,
        "below_floor": below_floor,
    }
    if due and not dry_run:
        confirm(f"{due} audit events would be deleted for good", yes=yes)
        engine = owner_engine(settings)
        try:
            with session_factory(engine).begin() as session:
                actor = Actor.user(who or "")
                found["events"] = purge_audit(session, cutoffs, actor, why=why, below_floor=below_floor)
        finally:
            engine.dispose()
    print_answer(found, [found], lambda: print_facts(found.items()), as_json=as_json, as_csv=False)


def _cutoffs(settings: Settings, before: datetime | None, why: str, *, below_floor: bool) -> AuditCutoffs:
    """Before when events go; raises UsageError where the site has set no floor, or it is undercut without a name."""
    from worker.db.audit.purge import AuditCutoffs
    from worker.db.retention.rules import audit_cutoffs
    from worker.retention.policy import floor_rule

    if below_floor:
        if before is None or not why.strip():
            msg = "--below-floor undercuts the floor of retention: name a moment by --before and the reason by --why"
            raise UsageError(msg)
        return AuditCutoffs.at(before)
    rule = floor_rule(settings)
    if rule is None:
        msg = "no event may go: set AUSCULT_KEEP_YEARS and AUSCULT_KEEP_UNTIL_BIRTHDAY (0: no such rule)"
        raise UsageError(msg)
    floors = [datetime.combine(day, time.min, UTC) for day in audit_cutoffs(rule, datetime.now(UTC).date())]
    general, person = floors if before is None else [min(floor, before) for floor in floors]
    return AuditCutoffs(general, person)
