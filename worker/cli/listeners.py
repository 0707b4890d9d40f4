"""Verbs on listeners: which there are, how far each has registered what it acknowledged, and retiring one."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Annotated

import typer

from worker.bootstrap import open_database
from worker.cli.output import AsCsv, AsJson, complain, login, opened_once, print_answer, print_table
from worker.cli.verbs import Verbs
from worker.db import inboxes

app = Verbs(help="Listeners and what they have still to register.")

COLUMNS = {
    "listener": "No",
    "host": "Host",
    "pid": "Process",
    "state": "State",
    "waiting": "Waiting",
    "heartbeat_at": "Last heard of",
}


@app.command("list")
def listener_list(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List every listener: LIVE, CLOSED (ended in order), SILENT or RETIRED."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = [asdict(row) for row in inboxes.inboxes(session)]
    keys = [column.name for column in fields(inboxes.InboxRow)]
    print_answer(rows, rows, lambda: print_table(rows, COLUMNS), keys, as_json=as_json, as_csv=as_csv)


@app.command("retire")
def listener_retire(
    number: Annotated[int, typer.Argument(help="The listener's number, as `listener list` shows it.")],
    who: Annotated[str | None, typer.Option(help="Who asks; default: the user's login name.")] = None,
    why: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Let a silent listener that will not come back hold up no study any more.

    What it acknowledged and did not register stays in its spool: copy those files and ingest them.
    """
    database = open_database(opened_once())
    with database.sessions.begin() as session:
        inboxes.retire(session, number, who or login(), why)
    complain(f"listener {number} is retired; a study it held up is settled within the dispatcher's next turn")
