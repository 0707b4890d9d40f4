"""``auscult model card``: write a bundle's card again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common.options import BundleOrFolder
from worker.cli.common.output import opened_once, print_facts
from worker.models.active import active_bundle


def model_card(
    bundle: BundleOrFolder,
    external: Annotated[
        Path | None,
        typer.Option(help="JSON list of the bundle's figures on other films; replaces the list in the card."),
    ] = None,
) -> None:
    """Write a bundle's card and description again, as this release writes them; its answers stay the same."""
    from model.serving.restate import read_external, restate

    found = active_bundle(opened_once(), bundle)
    again = restate(found, read_external(external) if external else None)
    print_facts([("Bundle", again.label), ("Card", again.card_path), ("Digest, the same as before", again.digest)])
