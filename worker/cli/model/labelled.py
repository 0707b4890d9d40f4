"""What the verbs on labelled films share: options, the answers of networks, progress, and the files of a report."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common.output import complain, print_facts
from worker.progress import counted
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.data.dataset import Picture
    from model.evaluation.provenance import Provenance
    from model.evaluation.scoring import ScoredFilm
    from model.serving.bundle import Bundle
    from model.training.train import Progress

Films = Annotated[
    Path,
    typer.Argument(help="Folder with NORMAL/ and PNEUMONIA/, or a CSV file: path,label[,patient][,subgroups...]."),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder for report.html and report.json; default: one named after the models.")
]
Data = Annotated[Path, typer.Option(help="Folder with NORMAL/ and PNEUMONIA/, or a CSV that lists films.")]
#: The table of ``auscult model stress``; ``train --evidence`` takes it.
STRESS_FILE = "stress.json"
#: The name of a report's files, without suffix.
REPORT = "report"


def answers_to(
    settings: Settings, bundles: Sequence[Bundle], pictures: Sequence[Picture]
) -> tuple[tuple[ScoredFilm, ...], ...]:
    """Return the answers of each bundle to the labelled films; each film is read once."""
    from model.evaluation.scoring import score_pictures
    from model.serving.classifier import Classifier
    from model.serving.engine import open_engine
    from worker.judging.readers import read_labelled, size_of_file

    classifiers = [Classifier(bundle, open_engine(bundle, settings.engine)) for bundle in bundles]
    with counted("judging") as advance:
        return score_pictures(classifiers, pictures, read_labelled, size_of_file, advance)


def put_on_record(settings: Settings, bundle: Bundle, films: Sequence[ScoredFilm]) -> int | None:
    """Record the figures for a later activation, warn of films from the training data, and return their number."""
    from model.evaluation.scoring import films_digest
    from model.serving.seen import seen_in_training
    from worker.models.track_record import record

    seen = seen_in_training(bundle.path, [(film.picture.path, film.picture_digest) for film in films])
    if seen:
        complain(
            f"{seen} of {len(films)} films were in the training data of {bundle.label}: the figures are better than "
            "on films it has never seen"
        )
    if bundle.site and bundle.site["films_digest"] == films_digest(films):
        complain(
            f"the operating point of {bundle.label} was fitted to these films: its card has the cross-fitted figures, and "
            "the figures here are better than on other films"
        )
    else:
        record(settings, bundle, films, seen)
    return seen


def provenance_of(source: Path) -> Provenance:
    """Return the provenance of a report on these films: the command line of this process, and the time."""
    from model.evaluation.provenance import Provenance

    command = shlex.join(["auscult", *sys.argv[1:]])
    return Provenance(command, source, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", f"Auscult {version('auscult')}")


def write_report(out: Path, page: str, document: dict[str, Any], *, say: bool) -> None:
    """Write a report as a page and as JSON, replacing an earlier one; with ``say`` print its paths."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{REPORT}.html").write_text(page, encoding="utf-8", errors="replace")
    (out / f"{REPORT}.json").write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")
    if say:
        print_facts([("Report", out / f"{REPORT}.html"), ("The same as JSON", out / f"{REPORT}.json")])


def steps_to(advance: Callable[[int, int], None]) -> Callable[[Progress], None]:
    """Return what shows the progress of a training by ``advance(done, in all)``."""
    return lambda step: advance(step.batches_done, step.batches_in_all)
