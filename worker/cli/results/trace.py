"""The verb ``trace``."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common.audited import audit_shown
from worker.cli.common.output import complain, opened_once, print_json
from worker.database import open_database


def trace(
    study: Annotated[str, typer.Argument(help="Study Instance UID, accession number or Patient ID.")],
    side: Annotated[int | None, typer.Option(help="Which patient, where a study has several.", min=0)] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All results there ever were, not only those that count.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Compute each score once more by the same bundle, and compare.")
    ] = False,
) -> None:
    """Print what made each result of a study, as one JSON document a result in a list.

    No name is in it. With --again the exit code is 1 where a score is not what was recorded, or cannot be computed.
    """
    from worker.results.again import Missing
    from worker.results.trace import TraceRequest, trace_study  # loads decoders and the network

    settings = opened_once()
    database = open_database(settings)
    traced = trace_study(settings, database, TraceRequest(study, side, every=every, again=again))
    audit_shown(database, "trace", traced.studies, as_json=True)
    print_json(traced.documents)
    if not again:
        return
    unlike = [
        str(document["result"]["result_id"])
        for document in traced.documents
        if document["again"]["why_not"] != Missing.NOT_SCORED and not document["again"]["is_within_rounding"]
    ]
    if unlike:
        complain(f"the score of result {', '.join(unlike)} was not reproduced: `again` in its document says why")
        raise typer.Exit(1)
