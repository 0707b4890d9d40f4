"""``auscult model data``: the contents of a set of labelled films, and what in it could mislead a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common.extras import check_evaluate
from worker.cli.common.output import AsCsv, AsJson, complain, console, opened_once, print_answer, print_table
from worker.cli.model.labelled import Films, provenance_of, write_report
from worker.models.active import bundle_of
from worker.progress import counted
from worker.settings import Settings

COUNT_COLUMNS = {"division": "", "name": "", "NORMAL": "Normal", "PNEUMONIA": "Pneumonia", "patients": "Patients"}
DUPLICATE_COLUMNS = {
    "likeness": "Duplicates",
    "groups": "Groups",
    "films": "Films",
    "labels": "Both labels",
    "patients": "More than one patient",
    "straddles": "Both sides of the split",
}
PROBE_COLUMNS = {"name": "Probe", "what": "What it measures", "auc": "AUC", "interval": "95 % interval"}


def model_data(
    films: Films,
    model: Annotated[
        str | None, typer.Option(help="Bundle, as name-version, whose answers are correlated with the probes.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json; default: no report.")
    ] = None,
    share: Annotated[
        float,
        typer.Option(help="Share of validation films in the split that is checked for duplicates.", min=0.01, max=0.99),
    ] = 0.15,
    seed: Annotated[int, typer.Option(help="Seed of that split.", min=0)] = 20,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Inspect labelled films: counts, unreadable files, duplicates, and probes for shortcuts."""
    check_evaluate()
    from model.data.listing import scan
    from model.inspection.findings import SplitSettings, inspect_films
    from model.inspection.survey import survey
    from model.reports.inspection import render_inspection
    from worker.judging.readers import read_labelled

    settings = opened_once()
    bundle, scorer = _scorer(settings, model) if model else (None, None)
    pictures = scan(films)
    with counted("inspecting") as advance:
        seen = survey(pictures, read_labelled, scorer, advance)
    found, provenance = inspect_films(seen, SplitSettings(share, seed), bundle), provenance_of(films)
    document = found.as_dict(provenance)
    if out:
        page = render_inspection(found, provenance, read_labelled)
        write_report(out, page, document, say=not (as_json or as_csv))
    print_answer(document, _long_rows(document), lambda: _show(document), as_json=as_json, as_csv=as_csv)
    if found.unreadable:
        raise typer.Exit(1)


def _scorer(settings: Settings, model: str) -> Any:
    """Return the bundle's name, and a function that returns its logit for a film."""
    from model.serving.classifier import Classifier
    from model.serving.engine import open_engine

    bundle = bundle_of(settings, model)
    classifier = Classifier(bundle, open_engine(bundle, settings.engine))
    return bundle.label, lambda film: classifier.score(film).logit


def _show(document: dict[str, Any]) -> None:
    for film in document["unreadable"]:
        complain(film["reason"])
    print_table(document["counts"], COUNT_COLUMNS)
    print_table(_duplicate_rows(document["duplicates"]), DUPLICATE_COLUMNS)
    probes = [
        {**probe, **probe["correlations"], "interval": "{:.3f} to {:.3f}".format(*probe["auc_ci"])}
        for probe in document["probes"]
    ]
    correlations = {label: f"Correlation, {label}" for label in document["probes"][0]["correlations"]}
    print_table(probes, {**PROBE_COLUMNS, **correlations})
    console().print(NOTICE)


def _long_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return three tables as one: table, name of the row, name of the value, value."""
    probes = [{**probe, **probe["correlations"]} for probe in document["probes"]]
    tables = {
        "counts": {f"{row['division']} {row['name']}": row for row in document["counts"]},
        "duplicates": {row["likeness"]: row for row in _duplicate_rows(document["duplicates"])},
        "probes": {row["name"]: row for row in probes},
    }
    return [
        {"table": table, "name": name, "figure": figure, "value": value}
        for table, rows in tables.items()
        for name, row in rows.items()
        for figure, value in row.items()
        if isinstance(value, int | float)
    ]


def _duplicate_rows(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for likeness in dict.fromkeys(group["likeness"] for group in groups):
        alike = [group for group in groups if group["likeness"] == likeness]
        rows.append(
            {
                "likeness": likeness,
                "groups": len(alike),
                "films": sum(len(group["films"]) for group in alike),
                "labels": sum(len(group["labels"]) > 1 for group in alike),
                "patients": sum(group["patients"] > 1 for group in alike),
                "straddles": sum(group["straddles"] for group in alike),
            }
        )
    return rows or [{"likeness": "none", "groups": 0, "films": 0, "labels": 0, "patients": 0, "straddles": 0}]
