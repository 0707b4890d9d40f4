"""The verb ``echo``."""

from __future__ import annotations

from typing import Any

import typer

from worker.cli.common.options import PeerName
from worker.cli.common.output import AsCsv, AsJson, complain, opened_for_peers, print_answer, print_table

STEP_COLUMNS = {"step": "Step", "detail": "What was found", "milliseconds": "Milliseconds"}


def echo(peer: PeerName, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Send a C-ECHO to a peer and show each step: name, connection, TLS, association, answer."""
    from dicom_io.client.echo import echo as ask
    from worker.peers import caller_of, find_peer

    settings = opened_for_peers()
    address = find_peer(settings, peer)
    answer = ask(address, caller_of(settings))
    steps: list[dict[str, Any]] = [
        {"step": step.stage.value, "detail": step.detail, "milliseconds": step.milliseconds} for step in answer.steps
    ]
    document = {"peer": str(address), "calling_aet": settings.ae_title, "answered": answer.is_answered}

    def show() -> None:
        if steps:
            print_table([{**step, "milliseconds": f"{step['milliseconds']:.1f}"} for step in steps], STEP_COLUMNS)
        complain(f"{address} answers" if answer.is_answered else f"{address}: {answer.problem}")

    document |= {"steps": steps, "problem": answer.problem or None}
    print_answer(document, steps, show, tuple(STEP_COLUMNS), as_json=as_json, as_csv=as_csv)
    if not answer.is_answered:
        raise typer.Exit(1)
