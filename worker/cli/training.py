"""``auscult model train`` and ``stress``: make a bundle, and see which recipe to make it by."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import AsCsv, AsJson, opened_once, print_answer, print_facts, print_table
from worker.errors import UsageError
from worker.progress import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.train import Progress

Data = Annotated[Path, typer.Option(help="Folder with NORMAL/ and PNEUMONIA/, or a CSV that lists films.")]
#: What the table of a stress test is called; ``train --evidence`` takes it.
STRESS_FILE = "stress.json"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("train")(model_train)
    app.command("stress")(model_stress)


def model_train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder: checkpoints, curves, and in the end the bundle.")],
    config: Annotated[str, typer.Option(help="A shipped configuration's name, or a TOML file.")] = "auscult-1",
    evidence: Annotated[
        list[Path] | None, typer.Option(help="Table for the model card, as `stress` writes it; may be repeated.")
    ] = None,
) -> None:
    """Train a network and export it as a bundle; started again, it goes on after its last checkpoint."""
    from model.config import config_path, load_config
    from model.export import train_bundle
    from model.listing import scan
    from worker.readers import read_labelled

    opened_once()
    tables = [_evidence(path) for path in evidence or ()]
    plan = load_config(config_path(config))
    with counted("training") as advance:
        bundle = train_bundle(plan, scan(data), out, _told(advance), read_labelled, tables)
    rows: dict[str, Any] = {"bundle": bundle.label, "path": bundle.path, **bundle.metrics.as_dict()}
    print_facts(rows.items())


def model_stress(
    configs: Annotated[list[str], typer.Argument(help="Candidates: shipped configurations' names, or TOML files.")],
    data: Data,
    out: Annotated[Path, typer.Option(help=f"Folder for the runs and {STRESS_FILE}.")],
    size: Annotated[
        int | None, typer.Option(help="Input size for all candidates instead of their own.", min=32)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs for all candidates instead of their own.", min=1)] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this hold-out; may be repeated.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Train candidates without films that differ, and compare what they answer to those; started again, it goes on."""
    from model.config import Stage, config_path, load_config
    from model.listing import scan
    from model.stress import as_evidence, hold_outs, stress
    from worker.readers import read_labelled

    opened_once()
    plans = [load_config(config_path(name)) for name in configs]
    pictures = scan(data)
    every = hold_outs(pictures, 0, read_labelled)
    names = [each.name for each in every]
    if unknown := sorted(set(only or ()) - set(names)):
        msg = f"there is no hold-out {', '.join(unknown)}; say one of {', '.join(names)}"
        raise UsageError(msg)
    held = [each for each in every if not only or each.name in only]
    rows = []
    for plan in plans:
        if size or epochs:
            stage = Stage(size or plan.input_size, epochs or plan.epochs)
            plan = dataclasses.replace(plan, stages=(stage,))  # noqa: PLW2901 - the same candidate, made shorter
        label = f"{plan.name}-{plan.version}"
        with counted(f"stress of {label}") as advance:
            rows += stress(plan, pictures, held, out / label, _told(advance), read_labelled)
    out.mkdir(parents=True, exist_ok=True)
    table = as_evidence(rows, shlex.join(["auscult", *sys.argv[1:]]))
    (out / STRESS_FILE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    found = [row.as_dict() for row in rows]
    titles = {name: name.replace("_", " ") for name in ("candidate", "hold_out", "films", "auc", "specificity")}
    print_answer(found, found, lambda: print_table(found, titles), as_json=as_json, as_csv=as_csv)


def _told(advance: Callable[[int, int], None]) -> Callable[[Progress], None]:
    return lambda step: advance(step.batches_done, step.batches_in_all)


def _evidence(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        whole = {"title", "text", "columns", "rows"} <= set(table)
    except (OSError, ValueError, TypeError):
        whole = False
    if not whole:
        msg = f"{path} is no table for a model card: give the {STRESS_FILE} that `auscult model stress` wrote"
        raise UsageError(msg)
    return dict(table)
