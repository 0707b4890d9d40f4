"""``auscult model stress``: how well configurations generalise to films that differ."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common.extras import check_evaluate
from worker.cli.common.output import AsCsv, AsJson, opened_once, print_answer, print_table
from worker.cli.model.labelled import STRESS_FILE, Data, steps_to
from worker.errors import UsageError
from worker.progress import counted


def model_stress(
    configs: Annotated[list[str], typer.Argument(help="Candidates: shipped configurations' names, or TOML files.")],
    data: Data,
    out: Annotated[Path, typer.Option(help=f"Folder for the runs and {STRESS_FILE}.")],
    size: Annotated[
        int | None, typer.Option(help="Input size for all candidates instead of their own.", min=32)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs for all candidates instead of their own.", min=1)] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this set of held-out films; may be repeated.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Train each configuration without the films that differ most, and compare the answers to those films.

    Started again, it continues after the last checkpoint.
    """
    check_evaluate()
    from model.network.speed import prepare_for_training

    prepare_for_training()
    from model.config import TrainingStage, config_path, load_config
    from model.data.listing import scan
    from model.training.recipes import as_evidence, hold_outs, stress
    from worker.judging.readers import read_labelled

    opened_once()
    plans = [load_config(config_path(name)) for name in configs]
    pictures = scan(data)
    every = hold_outs(pictures, 0, read_labelled)
    names = [each.name for each in every]
    if unknown := sorted(set(only or ()) - set(names)):
        msg = f"no set of held-out films is called {', '.join(unknown)}: give one of {', '.join(names)}"
        raise UsageError(msg)
    held = [each for each in every if not only or each.name in only]
    rows = []
    for plan in plans:
        if size or epochs:
            stage = TrainingStage(size or plan.input_size, epochs or plan.epochs)
            plan = dataclasses.replace(plan, stages=(stage,))  # noqa: PLW2901 - the same candidate, made shorter
        label = f"{plan.name}-{plan.version}"
        with counted(f"stress of {label}") as advance:
            rows += stress(plan, pictures, held, out / label, steps_to(advance), read_labelled)
    out.mkdir(parents=True, exist_ok=True)
    table = as_evidence(rows, shlex.join(["auscult", *sys.argv[1:]]))
    (out / STRESS_FILE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    found = [row.as_dict() for row in rows]
    titles = {name: name.replace("_", " ") for name in ("candidate", "hold_out", "films", "auc", "specificity")}
    print_answer(found, found, lambda: print_table(found, titles), as_json=as_json, as_csv=as_csv)
