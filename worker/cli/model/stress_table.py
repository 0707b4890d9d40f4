"""``auscult model stress-table``: how a bundle holds on changed films."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common.options import BundleOrFolder, EngineName
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
from worker.errors import UsageError
from worker.models.active import active_bundle
from worker.progress import counted

if TYPE_CHECKING:
    from model.evaluation.stress_bundle import BundleStress
    from model.serving.bundle import Bundle
    from worker.settings import Settings


def model_stress_table(
    bundle: BundleOrFolder,
    films: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with NORMAL/ and PNEUMONIA/, or a CSV; default: the answers that the bundle keeps."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="PNG file for a chart of the table.")] = None,
    engine: EngineName = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Measure a bundle on films that are cropped, bordered, darker or sharper, at its one threshold; trains nothing.

    A film from its training data is judged by the member that was not trained on it, where the bundle has one.
    """
    settings = opened_once(engine=engine)
    found = active_bundle(settings, bundle)
    stress = _stress(settings, found, films)
    table = stress.table
    if stress.seen or stress.seen is None:
        known = f"{stress.seen} of {table['films']} films" if stress.seen else "an unknown number of the films"
        complain(
            f"{known} were in the training data of {found.label}, and the served network judged them: the figures are "
            "better than on films it has never seen"
        )
    if out:
        from model.operating.stress_chart import draw_stress

        out.parent.mkdir(parents=True, exist_ok=True)
        draw_stress(table, f"{found.label}: one threshold, films changed", out)
    document = {
        "bundle": found.label,
        "digest": found.digest,
        "judged": stress.judged.value,
        "seen_in_training": stress.seen,
        **table,
    }
    rows = [{key: value for key, value in row.items() if key not in {"thresholds", "bands"}} for row in table["rows"]]
    print_answer(document, rows, lambda: _show(found, stress, out), as_json=as_json, as_csv=as_csv)


def _stress(settings: Settings, bundle: Bundle, films: Path | None) -> BundleStress:
    from model.data.listing import scan
    from model.evaluation.stress_bundle import stress_films, stress_kept
    from worker.judging.readers import read_labelled

    if films is None:
        kept = stress_kept(bundle)
        if kept is None:
            msg = f"{bundle.label} has no stored answers to changed films: give labelled films to judge"
            raise UsageError(msg)
        return kept
    with counted("judging") as advance:
        return stress_films(bundle, scan(films), read_labelled, settings.engine, advance)


def _show(bundle: Bundle, stress: BundleStress, out: Path | None) -> None:
    table = stress.table
    figures = ("auc", "sensitivity", "specificity")
    rows = [
        {
            "name": row["name"],
            "role": row["role"],
            **{key: f"{row[key]:.3f}" for key in figures},
            "lost": f"{row['sensitivity_loss']:+.3f} / {row['specificity_loss']:+.3f}",
            "holds": "yes" if row["holds"] else "no",
        }
        for row in table["rows"]
    ]
    names = {"name": "Film", "role": "Role", "auc": "AUC", "sensitivity": "Sensitivity", "specificity": "Specificity"}
    print_table(rows, {**names, "lost": "Lost of each", "holds": "Holds"})
    words: list[tuple[str, Any]] = [("Model", bundle.label), ("ScoredBy", stress.judged.value)]
    words += [(f"AUC, {name} rows pooled", f"{value:.4f}") for name, value in table["pooled_auc"].items()]
    words += [
        ("All rows hold" if name == "all" else f"All {name} rows hold", "yes" if holds else "no")
        for name, holds in table["holds"].items()
    ]
    print_facts([*words, *([("Chart", out)] if out else [])])
    console().print(
        f"A row holds if sensitivity and specificity each lose at most {table['max_loss']:g} against the unchanged films, "
        f"at the threshold {table['threshold']:g}."
    )
    console().print(NOTICE)
