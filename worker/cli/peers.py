"""Verbs that call other systems: echo."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer

from worker.cli.output import AsJson, complain, opened_once, print_json, print_table
from worker.settings import Settings

PeerName = Annotated[
    str, typer.Argument(help="A name of AUSCULT_PEERS, AET@HOST:PORT or dicom-tls://AET@HOST:PORT.", metavar="PEER")
]
STEP_COLUMNS = {"step": "Step", "detail": "What was found", "milliseconds": "Milliseconds"}


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(echo)


def echo(peer: PeerName, as_json: AsJson = False) -> None:
    """Ask a peer for an answer (C-ECHO), and say how far it went: name, connection, TLS, association, answer."""
    from dicom_io.echo import echo as ask
    from worker.peers import caller_of, find_peer

    settings = _opened()
    address = find_peer(settings, peer)
    answer = ask(address, caller_of(settings))
    steps: list[dict[str, Any]] = [
        {"step": step.stage.value, "detail": step.detail, "milliseconds": step.milliseconds} for step in answer.steps
    ]
    if as_json:
        document = {"peer": str(address), "calling_aet": settings.ae_title, "answered": answer.is_answered}
        print_json({**document, "steps": steps, "problem": answer.problem or None})
    else:
        if steps:
            print_table(steps, STEP_COLUMNS)
        complain(f"{address} answers" if answer.is_answered else f"{address}: {answer.problem}")
    if not answer.is_answered:
        raise typer.Exit(1)


def _opened() -> Settings:
    """The settings, with the network library silent: its every complaint comes back as a sentence of ours."""
    settings = opened_once()
    logging.getLogger("pynetdicom").propagate = False
    return settings
