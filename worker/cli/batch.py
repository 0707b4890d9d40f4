"""``auscult batch``: list and show re-runs and shadows."""

from __future__ import annotations

from typing import Annotated

import typer

from model.notice import NOTICE
from worker.cli.common.audited import audit_batch
from worker.cli.common.output import AsCsv, AsJson, opened_once, print_answer, print_facts, print_table
from worker.cli.common.verbs import Verbs
from worker.cli.common.wording import FLIP_KEYS, results_of_batch, show_flips
from worker.database import open_database
from worker.db.read import queries
from worker.errors import UsageError

Number = Annotated[int, typer.Argument(help="The batch's number.")]
BATCH_COLUMNS = {
    "batch_id": "Batch",
    "model": "Model",
    "results": "Results",
    "who": "Who",
    "created_at": "Created",
    "n_tasks": "Films",
    "n_failed": "Failed",
    "n_open": "Open",
    "state": "State",
}

app = Verbs(help="Batches of re-runs.")


@app.command("list")
def batch_list(
    limit: Annotated[int, typer.Option(help="How many batches, newest first.", min=1)] = 50,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List batches and their progress."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = queries.batches(session, limit)

    def show() -> None:
        print_table([{**row, "results": results_of_batch(row["keep_current"])} for row in rows], BATCH_COLUMNS)

    print_answer(rows, rows, show, as_json=as_json, as_csv=as_csv)


@app.command("show")
def batch_show(number: Number, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Show one batch: who, why, selector, progress, whether its results are current, and which labels flipped."""
    from worker.db.batches import reruns

    database = open_database(opened_once())
    with database.reads() as session:
        row = queries.batch(session, number)
        flips = [flip.as_dict() for flip in reruns.flips(session, number)]
    if row is None:
        msg = f"no batch {number}: see `auscult batch list`"
        raise UsageError(msg)

    if as_json or as_csv:
        audit_batch(database, number, [flip["study_uid"] for flip in flips], command="batch show", flips=len(flips))

    def show() -> None:
        print_facts([*row.items(), ("results", results_of_batch(row["keep_current"]))])
        show_flips(flips)

    print_answer({**row, "flips": flips, "notice": NOTICE}, flips, show, FLIP_KEYS, as_json=as_json, as_csv=as_csv)
