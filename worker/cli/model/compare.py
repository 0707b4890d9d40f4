"""``auscult model compare``: two networks on the same labelled films."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common.extras import check_evaluate
from worker.cli.common.options import EngineName
from worker.cli.common.output import AsCsv, AsJson, console, opened_once, print_answer, print_table
from worker.cli.model.labelled import Films, Out, answers_to, provenance_of, put_on_record, write_report
from worker.models.active import active_bundle

COMPARED = ("accuracy", "sensitivity", "specificity", "auc")


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

    With --json or --csv and without --out no report is written: stdout gets its content, or its figures.
    """
    check_evaluate()
    from model.data.listing import scan
    from model.evaluation.compare import compare
    from model.reports.comparison import render_comparison
    from worker.judging.readers import read_labelled

    settings = opened_once(engine=engine)
    bundles = active_bundle(settings, first), active_bundle(settings, second)
    one, other = answers_to(settings, bundles, scan(folder))
    for bundle, films in zip(bundles, (one, other), strict=True):
        put_on_record(settings, bundle, films)
    found, provenance = compare(bundles, (one, other)), provenance_of(folder)
    document = found.as_dict(provenance)
    is_for_people = not (as_json or as_csv)
    if out or is_for_people:
        page = render_comparison(found, provenance, read_labelled)
        default = Path(f"comparison-{bundles[0].label}-{bundles[1].label}")
        write_report(out or default, page, document, say=is_for_people)
    figures = [{"figure": name, **document[name]} for name in COMPARED]
    print_answer(document, figures, lambda: _show_comparison(document), as_json=as_json, as_csv=as_csv)


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
