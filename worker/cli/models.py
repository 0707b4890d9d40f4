"""``auscult model``: list and show bundles."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.bootstrap import active_bundle, bundle_folders
from worker.cli import lifecycle
from worker.cli.output import AsCsv, AsJson, opened_once, print_answer, print_json, print_markdown, print_table
from worker.cli.verbs import Verbs
from worker.lifecycle import UNKNOWN, standings

app = Verbs(help="Bundles: the network and everything a score depends on.")
lifecycle.add_to(app)


@app.command("list")
def model_list(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the bundles that can be used: which is active, shadow or retired, since when, and who wanted it so."""
    from model.bundle import list_bundles

    settings = opened_once()
    known = standings(settings)
    rows = [
        {
            "bundle": bundle.label,
            **known.pop(bundle.label, UNKNOWN),
            "input_size": bundle.input_size,
            "threshold": bundle.threshold,
            "age_years": list(bundle.age_years),
            "accuracy": bundle.metrics.accuracy,
            "auc": bundle.metrics.auc,
            "weights_sha256": bundle.weights_sha256,
            "path": str(bundle.path),
        }
        for bundle in list_bundles(bundle_folders(settings))
    ]
    # A model whose results are in SQL and whose bundle is not here any more.
    rows += [{"bundle": label, **standing, "path": None} for label, standing in known.items()]

    def show() -> None:
        columns = ("bundle", "state", "since", "threshold", "accuracy", "auc")
        print_table(rows, {name: name for name in columns})

    print_answer(rows, rows, show, as_json=as_json, as_csv=as_csv)


@app.command("show")
def model_show(
    bundle: Annotated[str | None, typer.Argument(help="name-version; default: the active one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a bundle's model card, or its manifest as JSON."""
    from model.bundle import read_manifest

    found = active_bundle(opened_once(), bundle)
    if as_json:
        print_json(read_manifest(found.path))
    else:
        print_markdown(found.card_path.read_text(encoding="utf-8"))
