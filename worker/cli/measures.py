"""``auscult model evaluate`` and ``compare``: how good a network is on labelled films, and whether another is better."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.bootstrap import active_bundle
from worker.cli.output import (
    NOTICE,
    AsCsv,
    AsJson,
    complain,
    console,
    opened_once,
    print_answer,
    print_facts,
    print_table,
)
from worker.progress import counted
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.assessment import Provenance
    from model.bundle import Bundle
    from model.evaluate import ScoredFilm

Films = Annotated[
    Path,
    typer.Argument(help="Folder with NORMAL/ and PNEUMONIA/, or a CSV file: path,label[,patient][,subgroups...]."),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder for report.html and report.json; default: one named after the models.")
]
EngineName = Annotated[str | None, typer.Option(help="litert or keras.")]
COMPARED = ("accuracy", "sensitivity", "specificity", "auc")
#: What the files of a report are called.
REPORT = "report"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("evaluate")(model_evaluate)
    app.command("compare")(model_compare)


def model_evaluate(
    folder: Films,
    model: Annotated[str | None, typer.Option(help="Bundle, as name-version; default: the active one.")] = None,
    out: Out = None,
    engine: EngineName = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Measure a bundle on labelled films, through the very preprocessing that serves, and write a report.

    With --json or --csv and without --out no report is written: the same content, or the figures, go to stdout.
    """
    from model.assessment import assess
    from model.report import render_report
    from model.wording import FIGURES, interval, number
    from worker.readers import read_labelled

    settings = opened_once(engine=engine)
    bundle = active_bundle(settings, model)
    (films,) = _answers(settings, [bundle], folder)
    found, provenance = assess(bundle, films), provenance_of(folder)
    document = {**found.as_dict(provenance), "seen_in_training": _on_record(settings, bundle, films)}
    is_for_people = not (as_json or as_csv)
    if out or is_for_people:
        page = render_report(found, provenance, read_labelled)
        write_report(out or Path(f"evaluation-{bundle.label}"), page, document, say=is_for_people)

    def show() -> None:
        rows = [
            (name, f"{number(figure.value, share=share)}  ({interval(figure.by_patient, share=share)})")
            for key, name, share in FIGURES
            for figure in [found.figures[key]]
        ]
        out_of_scope = "cannot tell" if found.out_of_scope is None else str(len(found.out_of_scope))
        films_of = f"{len(films)} films of {found.patients} patients"
        print_facts([("Model", bundle.label), ("On", films_of), *rows, ("Out of scope", out_of_scope)])
        console().print("In brackets: 95 % intervals, by patient.")
        console().print(NOTICE)

    figures = [{"figure": name, **values} for name, values in document["figures"].items()]
    print_answer(document, figures, show, as_json=as_json, as_csv=as_csv)


def model_compare(
    first: Annotated[str, typer.Argument(help="Bundle, as name-version.")],
    second: Annotated[str, typer.Argument(help="Bundle to compare with it.")],
    folder: Films,
    out: Out = None,
    engine: EngineName = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Compare two bundles on the same labelled films: paired differences, McNemar's and DeLong's tests.

    With --json or --csv and without --out no report is written: the same content, or the figures, go to stdout.
    """
    from model.compare import compare
    from model.compare_report import render_comparison
    from worker.readers import read_labelled

    settings = opened_once(engine=engine)
    bundles = active_bundle(settings, first), active_bundle(settings, second)
    one, other = _answers(settings, bundles, folder)
    for bundle, films in zip(bundles, (one, other), strict=True):
        _on_record(settings, bundle, films)
    found, provenance = compare(bundles, (one, other)), provenance_of(folder)
    document = found.as_dict(provenance)
    is_for_people = not (as_json or as_csv)
    if out or is_for_people:
        page = render_comparison(found, provenance, read_labelled)
        default = Path(f"comparison-{bundles[0].label}-{bundles[1].label}")
        write_report(out or default, page, document, say=is_for_people)
    figures = [{"figure": name, **document[name]} for name in COMPARED]
    print_answer(document, figures, lambda: _show_comparison(document), as_json=as_json, as_csv=as_csv)


def _answers(settings: Settings, bundles: Sequence[Bundle], source: Path) -> tuple[tuple[ScoredFilm, ...], ...]:
    """For each bundle its answers to the labelled films, each film read once."""
    from model.engine import Classifier, open_engine
    from model.evaluate import score_pictures
    from model.listing import scan
    from worker.readers import read_labelled, size_of_file

    pictures = scan(source)
    classifiers = [Classifier(bundle, open_engine(bundle, settings.engine)) for bundle in bundles]
    with counted("judging") as advance:
        return score_pictures(classifiers, pictures, read_labelled, size_of_file, advance)


def _on_record(settings: Settings, bundle: Bundle, films: Sequence[ScoredFilm]) -> int | None:
    """Keep the figures for a later activation, and warn of films that the network knows; how many it knows."""
    from model.seen import seen_in_training
    from worker.evidence import record

    seen = seen_in_training(bundle.path, films)
    if seen:
        complain(
            f"{seen} of {len(films)} films were in the training data of {bundle.label}: the figures are better than "
            "they would be on films it has never seen"
        )
    record(settings, bundle, films, seen)
    return seen


def provenance_of(source: Path) -> Provenance:
    """Where a report on these films comes from: the command line of this process, now."""
    from model.assessment import Provenance

    command = shlex.join(["auscult", *sys.argv[1:]])
    return Provenance(command, source, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", f"Auscult {version('auscult')}")


def write_report(out: Path, page: str, document: dict[str, Any], *, say: bool) -> None:
    """Write a report as a page and as JSON, over an earlier one; with ``say`` its paths are printed."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{REPORT}.html").write_text(page, encoding="utf-8", errors="replace")
    (out / f"{REPORT}.json").write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")
    if say:
        print_facts([("Report", out / f"{REPORT}.html"), ("The same as JSON", out / f"{REPORT}.json")])


def _show_comparison(document: dict[str, Any]) -> None:
    rows = []
    for name in COMPARED:
        bounds = document[name]["by_patient"]
        shown = bounds and "{:+.3f} to {:+.3f}".format(*bounds)
        rows.append({"figure": name, **document[name], "by_patient": shown})
    columns = {
        "figure": "Figure",
        "first": document["first"]["label"],
        "second": document["second"]["label"],
        "difference": "Difference",
        "by_patient": "95 % interval",
        "p": "p",
        "n": "Films",
    }
    print_table(rows, columns)
    console().print("Intervals by patient; p by McNemar's and DeLong's tests.")
    console().print(f"They disagree on {len(document['disagreements'])} of {document['n']} films.")
    console().print(NOTICE)
