"""``auscult model calibrate``: an acceptance test on a site's own films, and an operating point fitted to them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common.extras import check_evaluate
from worker.cli.common.options import BundleName, EngineName, Who
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
from worker.cli.model.labelled import Films, Out, answers_to, provenance_of, put_on_record, write_report
from worker.environment import login
from worker.errors import UsageError
from worker.models.active import bundle_folders, bundle_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.acceptance.figures import Needed
    from model.acceptance.site_point import LabelledLogits
    from model.acceptance.site_version import Occasion
    from model.acceptance.verdict import Acceptance
    from model.data.dataset import Picture
    from model.evaluation.figures import Figure
    from model.evaluation.provenance import Provenance
    from model.evaluation.scoring import ScoredFilm
    from model.serving.bundle import Bundle
    from worker.settings import Settings

NOT_ACCEPTED = 1


def _share(value: float | None) -> float | None:
    if value is not None and not 0 < value < 1:
        msg = "a sensitivity, specificity or prevalence is a share between 0 and 1, such as 0.95"
        raise UsageError(msg)
    return value


Share = float | None


def model_calibrate(
    bundle: BundleName,
    films: Films,
    min_sensitivity: Annotated[
        Share, typer.Option(help="Target for the lower bound of the sensitivity.", callback=_share)
    ] = None,
    min_specificity: Annotated[
        Share, typer.Option(help="Target for the lower bound of the specificity.", callback=_share)
    ] = None,
    prevalence: Annotated[
        Share,
        typer.Option(
            help="Share of films with pneumonia at your site; the page has the predictive values for it.",
            callback=_share,
        ),
    ] = None,
    blinded: Annotated[
        bool,
        typer.Option(
            "--blinded",
            help="You confirm that the labels were given without sight of the network's answer; not needed where the CSV "
            "has a column blinded.",
        ),
    ] = False,
    allow_few: Annotated[
        bool, typer.Option("--allow-few", help="Accept fewer than 100 films of a label; the page says so.")
    ] = False,
    version: Annotated[
        str | None, typer.Option(help="Version of the new bundle; default: the next free one, such as 2.1.")
    ] = None,
    who: Who = None,
    out: Out = None,
    engine: EngineName = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Test a bundle on your own labelled films, fit its operating point to them, and write an acceptance page.

    The figures of the new operating point are cross-fitted by child, so no film is measured with a point fitted to it.

    A new version of the bundle is written only where its gain is proven; it answers once you activate it.

    Exit code 1: a target is not met. With --json or --csv and without --out no page is written.
    """
    check_evaluate()
    from model.acceptance.site_point import LabelledLogits
    from model.acceptance.targets import Decision, Targets
    from model.acceptance.verdict import accept
    from model.data.listing import scan
    from model.reports.acceptance import render_acceptance
    from worker.models.track_record import record

    settings = opened_once(engine=engine)
    source, pictures = bundle_of(settings, bundle), scan(films)
    voucher = _vouched(pictures, blinded=blinded, who=who or login())
    _check_counts(pictures, allow_few=allow_few)
    version = _new_version(settings, source, version)
    (answers,) = answers_to(settings, [source], pictures)
    judged = LabelledLogits.of(answers)
    found = accept(source, judged, Targets(min_sensitivity, min_specificity), prevalence)
    occasion = _occasion(answers, put_on_record(settings, source, answers), voucher, who or login())
    made = _made(settings, source, version, found, judged, occasion) if found.is_proven else None
    if made:
        record(settings, made, answers, occasion.seen_in_training, made.metrics)
    provenance, label = provenance_of(films), made.label if made else None
    document = _document(found, occasion, provenance, answers, label)
    is_for_people = not (as_json or as_csv)
    if out or is_for_people:
        page = render_acceptance(found, occasion, provenance, label)
        write_report(out or Path(f"calibration-{source.label}"), page, document, say=is_for_people)
    figures = _rows(document)
    print_answer(document, figures, lambda: _show(found, made), as_json=as_json, as_csv=as_csv)
    if found.verdict is Decision.NOT_ACCEPTED:
        raise typer.Exit(NOT_ACCEPTED)


def _vouched(pictures: Sequence[Picture], *, blinded: bool, who: str) -> str:
    """Return who says that the labels were given without sight of the answer; raises UsageError where nobody does."""
    from model.data.listing import is_blinded_by_list

    if is_blinded_by_list(pictures):
        return "yes, by the column blinded of the list"
    if blinded:
        return f"yes, stated by {who}"
    msg = (
        "a calibration needs labels that were given without sight of the network's answer, or it would only confirm that "
        "answer: state it by --blinded, or give a CSV list with a column blinded (yes or no for each film)"
    )
    raise UsageError(msg)


def _check_counts(pictures: Sequence[Picture], *, allow_few: bool) -> None:
    from model.acceptance.verdict import FEWEST, is_enough
    from model.labels import Label

    normal, pneumonia = (sum(picture.label is label for picture in pictures) for label in Label)
    if not (allow_few or is_enough(normal, pneumonia)):
        msg = (
            f"there are {normal} normal and {pneumonia} pneumonia films, and a calibration needs {FEWEST} of each: add "
            "films, or use --allow-few, and the page will say so"
        )
        raise UsageError(msg)


def _new_version(settings: Settings, source: Bundle, version: str | None) -> str:
    """Return the version to write; raises an error, before any film is judged, where it is taken or invalid."""
    from model.acceptance.site_version import next_version
    from model.serving.bundle import check_new
    from model.serving.manifest import MANIFEST

    folders = bundle_folders(settings)
    taken = {manifest.parent.name for folder in folders for manifest in folder.glob(f"*/{MANIFEST}")}
    chosen = version or next_version(source, taken)
    for folder in folders:
        check_new(folder / f"{source.name}-{chosen}", source.name, chosen)
    return chosen


def _occasion(films: Sequence[ScoredFilm], seen: int | None, voucher: str, who: str) -> Occasion:
    from model.acceptance.site_version import Occasion
    from model.evaluation.scoring import films_digest

    knows_scope = any(film.score.unlikeness is not None for film in films)
    return Occasion(
        who=who,
        made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        films_digest=films_digest(films),
        blinded=voucher,
        seen_in_training=seen,
        out_of_scope=sum(film.is_out_of_scope for film in films) if knows_scope else None,
    )


def _made(
    settings: Settings, source: Bundle, version: str, found: Acceptance, judged: LabelledLogits, occasion: Occasion
) -> Bundle:
    """Write the new bundle into the folder that all workers share, whole, by one rename."""
    from model.acceptance.site_version import write_site_version
    from model.serving.transfer import import_bundle

    with TemporaryDirectory(prefix="auscult-") as passing:
        draft = write_site_version(source, Path(passing) / "bundle", version, found, judged, occasion)
        return import_bundle(draft.path, settings.models)


def _document(
    found: Acceptance, occasion: Occasion, provenance: Provenance, films: Sequence[ScoredFilm], written: str | None
) -> dict[str, Any]:
    from model.evaluation.provenance import film_as_dict

    fitted = found.fitted
    rows = [
        {**film_as_dict(film, provenance), "fold": int(fold), "probability_after": float(probability)}
        for film, fold, probability in zip(films, fitted.fold, fitted.probabilities, strict=True)
    ]
    return {
        "report": "acceptance",
        "notice": NOTICE,
        **found.as_dict(),
        "written": written,
        "occasion": asdict(occasion),
        "provenance": provenance.as_dict(),
        "films": rows,
    }


def _rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each figure before and after, with both intervals."""
    return [
        {
            "figure": name,
            "before": before["value"],
            "before_by_patient": before["by_patient"],
            "before_by_film": before["by_film"],
            "after": document["after"][name]["value"],
            "after_by_patient": document["after"][name]["by_patient"],
            "after_by_film": document["after"][name]["by_film"],
            "difference": document["changes"].get(name, {}).get("difference"),
            "n": before["n"],
        }
        for name, before in document["before"].items()
    ]


def _show(found: Acceptance, made: Bundle | None) -> None:
    shown = [
        {
            "figure": name.replace("_", " "),
            "before": _with_bounds(before),
            "after": _with_bounds(found.after[name]),
            "difference": f"{found.changes[name].difference:+.3f}" if name in found.changes else None,
            "n": before.n,
        }
        for name, before in found.before.items()
    ]
    columns = {"figure": "Figure", "before": "Before", "after": "After", "difference": "Difference", "n": "Films"}
    print_table(shown, columns)
    console().print("In brackets: 95 % intervals, the wider of by patient and by film. After: cross-fitted by child.")
    which = "with the site's operating point" if found.is_proven else "as it is"
    targets = ", ".join(f"{name} at least {value:g}" for name, value in found.targets.stated().items())
    verdict = f"{found.verdict}, {which}, by lower bounds ({targets})" if targets else "no targets were stated"
    facts = [("Model", found.network.label), ("Verdict", verdict)]
    facts += [(f"Films for {each.figure}", _needed(each)) for each in found.needed]
    if made:
        facts.append(("New bundle", f"{made.label} in {made.path}"))
    print_facts(facts)
    if made:
        complain(f"the gain is proven; let it answer by 'auscult model activate {made.label} --why ...'")
    else:
        complain("the gain in balanced accuracy is not proven: no bundle was written")
    console().print(NOTICE)


def _needed(needed: Needed) -> str:
    """Return how many films a narrower interval needs, and how many the target."""
    said = [f"{n} for an interval of {100 * width:g} points either way" for width, n in needed.for_half_width.items()]
    if needed.for_target is not None:
        said.append(f"{needed.for_target} to show the target")
    elif needed.target is not None:
        said.append("no number of films shows the target: the figure itself is below it")
    return ", ".join(said)


def _with_bounds(figure: Figure) -> str:
    from model.acceptance.figures import widest

    return "{:.3f} ({:.3f}-{:.3f})".format(figure.value, *widest(figure))
