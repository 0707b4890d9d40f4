"""The record of a bundle: its evaluations at this site, its results as a shadow, its own validation.

`auscult model evaluate` and `compare` leave their main figures in ``evaluations/NAME-VERSION.json`` of the data folder, for
the question that `auscult model activate` asks. No film is named in the file: a digest stands for the set of films.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dicom_io.abandoned import remove_abandoned
from dicom_io.durable import write_whole
from model.acceptance.targets import Decision
from model.errors import BundleError
from model.evaluation.scoring import evaluate_films, films_digest
from worker.database import Database, make_home
from worker.db.batches.suspensions import suspended_models
from worker.db.tasks.shadow import compare
from worker.errors import SettingsError
from worker.models.active import active_model, bundle_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from model.evaluation.scoring import ScoredFilm
    from model.serving.bundle import Bundle
    from model.statistics.evaluation import Evaluation
    from worker.db.tasks.shadow import ShadowComparison
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: What is compared on the same films: all between 0 and 1, and better when larger.
FIGURES = ("auc", "sensitivity", "specificity")
#: The same for two validations, where a threshold may trade sensitivity for specificity.
OVERALL = ("auc", "balanced accuracy")
#: A figure on the same films that is lower by more than this speaks against a bundle.
WORSE_BY = 0.02
#: The same for other films than those of its own validation, compared with that.
FALLEN_BY = 0.05
#: A shadow that gives another label more often, or leaves more films unanswered that the active model answers.
DISAGREES_ABOVE = 0.1
UNANSWERED_ABOVE = 0.05


@dataclass(frozen=True, slots=True)
class RecordedFigures:
    """The figures of one bundle on one set of films."""

    films_sha256: str
    n: int
    auc: float
    sensitivity: float
    specificity: float
    accuracy: float
    #: Films that the bundle was trained on; None where it cannot tell.
    seen_in_training: int | None
    made_at: str


def record(
    settings: Settings, bundle: Bundle, films: Sequence[ScoredFilm], seen: int | None, found: Evaluation | None = None
) -> None:
    """Keep an evaluation's figures in place of earlier ones on the same films; a read-only data folder is logged only.

    ``found`` replaces the figures of the films' scores: a site's version has cross-fitted ones.
    """
    found = found or evaluate_films(films, bundle.name, bundle.version)
    new = RecordedFigures(
        films_sha256=films_digest(films),
        n=len(films),
        auc=found.auc,
        sensitivity=found.sensitivity,
        specificity=found.specificity,
        accuracy=found.accuracy,
        seen_in_training=seen,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    kept = [old for old in on_record(settings, bundle) if old.films_sha256 != new.films_sha256]
    document = {"bundle": bundle.label, "digest": bundle.digest, "weights_sha256": bundle.weights_sha256}
    try:
        make_home(settings)
        path = _path(settings, bundle)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        remove_abandoned(path.parent, 3600.0, ".*.part")
        text = json.dumps({**document, "evaluations": [asdict(item) for item in (*kept, new)]}, indent=1)
        write_whole(path, [text.encode()])
    except (OSError, SettingsError):
        logger.warning(
            "the figures are not on record: the data folder cannot be written", extra={"action": "no_record"}
        )


def on_record(settings: Settings, bundle: Bundle) -> list[RecordedFigures]:
    """The evaluations of this very bundle at this site, the oldest first."""
    try:
        document = json.loads(_path(settings, bundle).read_text(encoding="utf-8"))
        if (document["digest"], document["weights_sha256"]) != (bundle.digest, bundle.weights_sha256):
            return []
        return [RecordedFigures(**item) for item in document["evaluations"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        logger.warning("what is on record about %s cannot be read", bundle.label, extra={"action": "no_record"})
        return []


def against(settings: Settings, database: Database, bundle: Bundle) -> list[str]:
    """The reasons on record against activating this bundle, a sentence each."""
    active = active_model(settings, database)
    if active is None or active == bundle.label:
        return []
    with database.reads() as session:
        comparisons = [found for found in compare(session, bundle.label) if found.active == active]
        is_suspended = bundle.label in suspended_models(session)
    suspended = ["it is suspended, so its NORMAL would be withheld"] if is_suspended else []
    return [
        *suspended,
        *_of_site(bundle),
        *_of_shadow(comparisons),
        *_of_figures(settings, bundle, _if_here(settings, active)),
    ]


def _if_here(settings: Settings, active: str) -> Bundle | None:
    """The active model's bundle; None where this machine lacks it, which must not prevent the activation of another."""
    try:
        return bundle_of(settings, active)
    except BundleError:
        return None


def _of_site(bundle: Bundle) -> Iterator[str]:
    if bundle.site and bundle.site["verdict"] == Decision.NOT_ACCEPTED:
        yield "when it was calibrated it did not reach the targets that the site stated"


def _of_shadow(comparisons: Sequence[ShadowComparison]) -> Iterator[str]:
    for found in comparisons:
        differ = found.compared - found.agree
        if found.compared and differ / found.compared > DISAGREES_ABOVE:
            yield (
                f"as a shadow it gave another label than {found.active} to {differ} of {found.compared} films "
                f"({found.only_shadow_pneumonia} more and {found.only_active_pneumonia} fewer PNEUMONIA)"
            )
        if found.films and (found.only_active_answered - found.only_shadow_answered) / found.films > UNANSWERED_ABOVE:
            yield (
                f"as a shadow it left {found.only_active_answered} of {found.films} films unanswered that "
                f"{found.active} answered"
            )


def _of_figures(settings: Settings, bundle: Bundle, active: Bundle | None) -> Iterator[str]:
    mine = {item.films_sha256: item for item in on_record(settings, bundle)}
    theirs = {item.films_sha256: item for item in (on_record(settings, active) if active else ())}
    for digest, item in mine.items():
        if active and digest in theirs:
            if worse := _worse(item, theirs[digest], WORSE_BY):
                yield f"on the same {item.n} films it was worse than {active.label}: {worse}"
        elif worse := _worse(item, bundle.metrics, FALLEN_BY):
            yield f"on {item.n} films it was worse than in its own validation: {worse}"
    # The figures of a site's version come from films of its own, so only figures on the same films can be compared.
    if not active or bundle.site or active.site:
        return
    if worse := _worse(bundle.metrics, active.metrics, WORSE_BY, OVERALL):
        yield f"in its own validation it was worse than {active.label}: {worse}"


def _worse(found: Any, other: Any, by: float, names: Sequence[str] = FIGURES) -> str:
    pairs = {name: (_figure(found, name), _figure(other, name)) for name in names}
    return ", ".join(f"{name} {mine:.3f}, not {its:.3f}" for name, (mine, its) in pairs.items() if its - mine > by)


def _figure(found: Any, name: str) -> float:
    if name == "balanced accuracy":
        return float(found.sensitivity + found.specificity) / 2
    return float(getattr(found, name))


def _path(settings: Settings, bundle: Bundle) -> Path:
    return settings.home / "evaluations" / f"{bundle.label}.json"
