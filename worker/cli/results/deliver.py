"""``auscult deliver``: where results go, how far each is, and try again."""

from __future__ import annotations

from typing import Annotated

import typer

from dicom_io.network.addresses import is_foreign_ae_title
from dicom_io.results.result import FindingStatus
from model.labels import Band
from model.notice import NOTICE
from worker.cli.common.options import Texts, Who, WhyGiven, upper
from worker.cli.common.output import AsCsv, AsJson, complain, console, opened_once, print_answer, print_table
from worker.cli.common.verbs import Verbs
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.db.delivery import destinations
from worker.db.delivery.destinations import NewDestination
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import DeliveryState, DestinationKind
from worker.db.schema.views import DELIVERIES
from worker.errors import UsageError

app = Verbs(help="Results handed on to other systems: where, how far, and try again.")

COLUMNS = {
    "created_at": "Since",
    "destination": "To",
    "study_uid": "Study",
    "action": "What",
    "state": "State",
    "reason": "Reason",
    "attempts": "Attempts",
    "next_try_s": "Next in s",
}
RULE_COLUMNS = {
    "name": "Name",
    "kind": "Kind",
    "address": "Address",
    "findings": "Findings",
    "bands": "Bands",
    "callers": "Sent by",
    "heat_map": "Heat map",
    "n_open": "Open",
    "n_failed": "Given up",
}
Name = Annotated[str, typer.Argument(help="What the site calls the destination.", show_default=False)]


@app.command("list")
def deliver_list(
    study: Annotated[str, typer.Option(help="Only of this Study Instance UID.")] = "",
    to: Annotated[str, typer.Option(help="Only to this destination.")] = "",
    state: Annotated[Texts, typer.Option(help="Only in this state, such as FAILED; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=100_000)] = 100,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List deliveries, the newest first: what was sent where, and how far each is."""
    states = _among("--state", state, DeliveryState)
    database = open_database(opened_once())
    with database.reads() as session:
        rows = destinations.deliveries(session, study=study, destination=to, states=states, limit=limit)
    print_answer(rows, rows, lambda: print_table(rows, COLUMNS), DELIVERIES.c.keys(), as_json=as_json, as_csv=as_csv)
    if not rows:
        complain("there are no such deliveries; `auscult deliver rules` lists the destinations")


@app.command("rules")
def deliver_rules(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the destinations, and which results each gets."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = destinations.rules(session)

    def show() -> None:
        print_table([{**row, **{name: ", ".join(row[name]) or "all" for name in _LISTS}} for row in rows], RULE_COLUMNS)
        console().print(NOTICE)

    print_answer(rows, rows, show, list(rows[0]) if rows else list(RULE_COLUMNS), as_json=as_json, as_csv=as_csv)
    if not rows:
        complain("there is no destination: nothing is delivered")


_LISTS = ("findings", "bands", "callers")


@app.command("add")
def deliver_add(
    name: Name,
    address: Annotated[
        str,
        typer.Argument(
            help="A peer of AUSCULT_PEERS, AET@HOST:PORT, or the https:// URL of a webhook.", show_default=False
        ),
    ],
    why: WhyGiven,
    finding: Annotated[
        Texts, typer.Option(help="Only PRESENT, INDETERMINATE or ABSENT; may be repeated. Default: all.")
    ] = None,
    band: Annotated[Texts, typer.Option(help="Only LOW, INTERMEDIATE or HIGH; may be repeated. Default: all.")] = None,
    sent_by: Annotated[
        Texts, typer.Option(help="Only studies that this AE title sent; may be repeated. Default: all.")
    ] = None,
    heat_map: Annotated[bool, typer.Option("--heat-map", help="Send a heat map beside each report.")] = False,
    no_commitment: Annotated[
        bool, typer.Option("--no-commitment", help="Do not ask for storage commitment, even if it is offered.")
    ] = False,
    names_patient: Annotated[
        bool,
        typer.Option(
            "--names-patient", help="Tell a webhook the numbers of study and patient; DICOM objects have them."
        ),
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Deliver the answers that are there already, too.")
    ] = False,
    who: Who = None,
) -> None:
    """Add a destination: from now on it gets the FINAL answers that its rule wants, and what follows each of them."""
    from worker.delivering.addresses import kind_of  # loads what calls peers

    settings = opened_once()
    if not name.strip() or len(name) > _LONGEST_NAME:
        msg = f"a destination's name has 1 to {_LONGEST_NAME} characters"
        raise UsageError(msg)
    kind = kind_of(settings, name.strip(), address)
    callers = tuple(sent_by or ())
    if not all(map(is_foreign_ae_title, callers)):
        msg = "--sent-by is an AE title of 1 to 16 characters"
        raise UsageError(msg)
    is_dicom = kind is DestinationKind.C_STORE
    if not is_dicom and (heat_map or no_commitment):
        msg = "--heat-map and --no-commitment are for DICOM destinations: a webhook gets a message"
        raise UsageError(msg)
    new = NewDestination(
        name=name.strip(),
        kind=kind,
        address=address,
        findings=_among("--finding", finding, FindingStatus),
        bands=_among("--band", band, Band),
        callers=callers,
        heat_map=heat_map,
        commitment=is_dicom and not no_commitment,
        names_patient=is_dicom or names_patient,
    )
    database, actor = open_database(settings), Actor.user(who or "")
    in_transaction(database.sessions, lambda session: destinations.add(session, new, actor, why, from_start=from_start))
    complain(f"{new.name} is told results from {'the start' if from_start else 'now'} on. {NOTICE}")


_LONGEST_NAME = 32


@app.command("remove")
def deliver_remove(name: Name, why: WhyGiven, who: Who = None) -> None:
    """Remove a destination: it is told nothing more, and what it was told stays there."""
    database, actor = open_database(opened_once()), Actor.user(who or "")
    in_transaction(database.sessions, lambda session: destinations.remove(session, name, actor, why))
    complain(f"{name} is told nothing more; what it has of Auscult's results stays there")


@app.command("retry")
def deliver_retry(
    why: WhyGiven,
    study: Annotated[str, typer.Option(help="Only of this Study Instance UID.")] = "",
    to: Annotated[str, typer.Option(help="Only to this destination.")] = "",
    who: Who = None,
) -> None:
    """Try deliveries again now that were given up, were not confirmed or wait for their next attempt."""
    from worker.delivering.timing import give_up_ms

    settings = opened_once()
    database, actor = open_database(settings), Actor.user(who or "")
    made = in_transaction(
        database.sessions,
        lambda session: destinations.retry(
            session, actor, why, study=study, destination=to, give_up_ms=give_up_ms(settings)
        ),
    )
    complain(f"{made} deliveries are tried again" if made else "no delivery failed or waits: nothing to try again")


def _among(
    option: str, words: Texts, values: type[DeliveryState] | type[FindingStatus] | type[Band]
) -> tuple[str, ...]:
    chosen, known = upper(words), [one.value for one in values]
    if not set(chosen) <= set(known):
        msg = f"{option} is one of {', '.join(known)}"
        raise UsageError(msg)
    return chosen
