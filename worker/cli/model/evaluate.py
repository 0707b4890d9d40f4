"""``auscult model evaluate``: how good a network is on labelled films."""

from __future__ import annotations

from pathlib import Path

from model.notice import NOTICE
from worker.cli.common.extras import check_evaluate
from worker.cli.common.options import EngineName, ModelName
from worker.cli.common.output import AsCsv, AsJson, console, opened_once, print_answer, print_facts
from worker.cli.model.labelled import Films, Out, answers_to, provenance_of, put_on_record, write_report
from worker.models.active import active_bundle


def model_evaluate(
    folder: Films,
    model: ModelName = None,
    out: Out = None,
    engine: EngineName = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Measure a bundle on labelled films, with the preprocessing of the workers, and write a report.

    With --json or --csv and without --out no report is written: stdout gets its content, or its figures.
    """
    check_evaluate()
    from model.data.listing import scan
    from model.evaluation.assessment import assess
    from model.reports.evaluation import render_report
    from model.reports.wording import FIGURES, interval, number
    from worker.judging.readers import read_labelled

    settings = opened_once(engine=engine)
    bundle = active_bundle(settings, model)
    (films,) = answers_to(settings, [bundle], scan(folder))
    found, provenance = assess(bundle, films), provenance_of(folder)
    document = {**found.as_dict(provenance), "seen_in_training": put_on_record(settings, bundle, films)}
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
        out_of_scope = "not known" if found.out_of_scope is None else str(len(found.out_of_scope))
        films_of = f"{len(films)} films of {found.patients} patients"
        print_facts([("Model", bundle.label), ("On", films_of), *rows, ("Out of scope", out_of_scope)])
        console().print("In brackets: 95 % intervals, by patient.")
        console().print(NOTICE)

    figures = [{"figure": name, **values} for name, values in document["figures"].items()]
    print_answer(document, figures, show, as_json=as_json, as_csv=as_csv)
