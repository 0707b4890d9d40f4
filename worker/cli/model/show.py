"""``auscult model list`` and ``show``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worker.cli.common.output import (
    AsCsv,
    AsJson,
    opened_once,
    print_answer,
    print_json,
    print_markdown,
    print_table,
)
from worker.cli.common.wording import warn_suspended
from worker.models.active import active_bundle, bundle_folders
from worker.models.lifecycle import UNKNOWN, standings


def model_list(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the bundles that can be used: which is active, shadow or retired, since when, and who asked for it."""
    from model.serving.bundle import list_bundles

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
    # Models with results in SQL whose bundle is no longer here.
    rows += [{"bundle": label, **standing, "path": None} for label, standing in known.items()]

    def show() -> None:
        columns = ("bundle", "state", "since", "threshold", "accuracy", "auc", "suspended")
        # Who suspended it and why is a sentence, which does not fit beside the figures.
        print_table([{**row, "suspended": _since(row["suspended"])} for row in rows], {name: name for name in columns})
        for row in rows:
            warn_suspended(row["bundle"], row["suspended"])

    print_answer(rows, rows, show, as_json=as_json, as_csv=as_csv)


def _since(suspended: dict[str, Any] | None) -> Any:
    return suspended["at"] if suspended else None


def model_show(
    bundle: Annotated[str | None, typer.Argument(help="Bundle, as name-version; default: the active one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a bundle's model card, or its manifest as JSON."""
    from model.serving.bundle import read_manifest

    settings = opened_once()
    found = active_bundle(settings, bundle)
    warn_suspended(found.label, standings(settings).get(found.label, UNKNOWN)["suspended"])
    if as_json:
        print_json(read_manifest(found.path))
    else:
        print_markdown(found.card_path.read_text(encoding="utf-8"))
