"""``auscult model verify``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common.output import (
    AsCsv,
    AsJson,
    complain,
    console,
    opened_once,
    print_answer,
    print_facts,
    print_table,
)
from worker.models.active import active_bundle

NOT_EQUAL = 1


def verify(
    bundle: Annotated[
        str | None, typer.Argument(help="Bundle: name-version, or the path of its folder; default: the active one.")
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Check every digest of a bundle, and that the installed engines give drawn films the same score."""
    from dicom_io.create.phantom import drawn_chests
    from model.serving.verify import verify_bundle

    settings = opened_once()
    found = verify_bundle(active_bundle(settings, bundle), drawn_chests())
    document = {**found.as_dict(), "notice": NOTICE}

    def show() -> None:
        print_facts((name, _exactly(value)) for name, value in found.as_dict().items() if name != "scores")
        _print_scores(document["scores"])
        console().print(NOTICE)

    print_answer(document, document["scores"], show, as_json=as_json, as_csv=as_csv)
    if not found.equal:
        complain(f"the engines give different scores with {found.bundle}: export the bundle again")
        raise typer.Exit(NOT_EQUAL)


def _exactly(value: Any) -> Any:
    """Return a float in scientific notation, in which a difference of 1e-7 is not 0."""
    return f"{value:.1e}" if isinstance(value, float) else value


def _print_scores(rows: list[dict[str, Any]]) -> None:
    print_table(rows, {"film": "Drawn film", "engine": "Engine", "logit": "Logit", "probability": "Probability"})
