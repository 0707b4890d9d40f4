"""``auscult listener``: list listeners with the objects they have still to register, and retire one."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Annotated

import typer

from worker.cli.common.options import Who, Why
from worker.cli.common.output import AsCsv, AsJson, complain, opened_once, print_answer, print_table
from worker.cli.common.verbs import Verbs
from worker.database import open_database
from worker.db.answers import inboxes, listeners
from worker.environment import login

app = Verbs(help="Listeners and the objects they have still to register.")

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
    """List every listener with its state: LIVE, CLOSED (ended normally), SILENT or RETIRED."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = [asdict(row) for row in listeners.listeners(session)]
    keys = [column.name for column in fields(listeners.InboxRow)]
    print_answer(rows, rows, lambda: print_table(rows, COLUMNS), keys, as_json=as_json, as_csv=as_csv)


@app.command("retire")
def listener_retire(
    number: Annotated[int, typer.Argument(help="The listener's number, as `listener list` shows it.")],
    who: Who = None,
    why: Why = "",
) -> None:
    """Retire a silent listener that will not come back, so that it no longer delays studies.

    Objects that it acknowledged and did not register stay in its spool: copy those files and ingest them.
    """
    database = open_database(opened_once())
    with database.sessions.begin() as session:
        inboxes.retire(session, number, who or login(), why)
    complain(f"listener {number} is retired; the dispatcher settles the studies it delayed in its next turn")
