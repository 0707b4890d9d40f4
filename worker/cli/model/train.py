"""``auscult model train``: make a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.common.extras import check_evaluate
from worker.cli.common.output import opened_once, print_facts
from worker.cli.model.labelled import STRESS_FILE, Data, steps_to
from worker.errors import UsageError
from worker.progress import counted


def model_train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder: checkpoints, curves and, at the end, the bundle.")],
    config: Annotated[str, typer.Option(help="A shipped configuration's name, or a TOML file.")] = "auscult-2",
    evidence: Annotated[
        list[Path] | None, typer.Option(help="Table of `auscult model stress` for the model card; may be repeated.")
    ] = None,
) -> None:
    """Train a network and export it as a bundle; started again, it continues after its last checkpoint."""
    check_evaluate()
    from model.network.speed import prepare_for_training

    prepare_for_training()
    from model.config import config_path, load_config
    from model.data.listing import scan
    from model.training.export import train_bundle
    from worker.judging.readers import read_labelled

    opened_once()
    tables = [_evidence(path) for path in evidence or ()]
    plan = load_config(config_path(config))
    with counted("training") as advance:
        bundle = train_bundle(plan, scan(data), out, steps_to(advance), read_labelled, tables)
    rows: dict[str, Any] = {"bundle": bundle.label, "path": bundle.path, **bundle.metrics.as_dict()}
    print_facts(rows.items())


def _evidence(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        whole = {"title", "text", "columns", "rows"} <= set(table)
    except (OSError, ValueError, TypeError):
        whole = False
    if not whole:
        msg = f"{path} is not a table for a model card: give the {STRESS_FILE} that `auscult model stress` wrote"
        raise UsageError(msg)
    return dict(table)
