"""``auscult classify``: judge files on the spot, without database or broker, by the very functions a worker uses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dicom_io.errors import DicomIoError, FilmError, NotDicom
from dicom_io.film import is_picture
from dicom_io.header import facts_of, read_facts
from dicom_io.reasons import Outcome, Reason
from dicom_io.wrap import wrap_picture
from model.engine import Classifier, open_engine
from worker.bootstrap import active_bundle
from worker.pipeline import Judgement, judge_film
from worker.readers import film_of_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dicom_io.gate import Policies
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Answer:
    """What Auscult says about one file."""

    path: str
    outcome: Outcome
    reason: Reason | None
    flags: tuple[Reason, ...]
    label: str | None
    probability: float | None
    logit: float | None
    threshold: float | None
    band: str | None
    unlikeness: float | None
    film_sha256: str | None
    film_version: int | None
    model: str
    version: str

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def classify(settings: Settings, paths: Sequence[Path], model: str | None = None) -> Iterator[Answer]:
    """Answer for each path in turn; a file that cannot be read gets its answer too."""
    bundle = active_bundle(settings, model)
    classifier = Classifier(bundle, open_engine(bundle, settings.engine))
    for path in paths:
        yield _answer(path, _judge(classifier, path, settings.policies), classifier)


def _judge(classifier: Classifier, path: Path, policies: Policies) -> Judgement:
    try:
        facts = facts_of(wrap_picture(path)) if is_picture(path) else read_facts(path)
        return judge_film(classifier, facts, lambda: film_of_file(path), policies)
    except FilmError as error:
        return Judgement(error.reason)
    except NotDicom:
        return Judgement(Reason.NOT_DICOM)
    except (DicomIoError, OSError):
        return Judgement(Reason.UNREADABLE)


def _answer(path: Path, judgement: Judgement, classifier: Classifier) -> Answer:
    score, film, bundle = judgement.score, judgement.film, classifier.bundle
    return Answer(
        path=str(path),
        outcome=judgement.outcome,
        reason=judgement.reason,
        flags=judgement.flags,
        label=score.label if score else None,
        probability=score.probability if score else None,
        logit=score.logit if score else None,
        threshold=score.threshold if score else None,
        band=score.band if score else None,
        unlikeness=judgement.unlikeness,
        film_sha256=film.sha256 if film else None,
        film_version=film.version if film else None,
        model=bundle.name,
        version=bundle.version,
    )
