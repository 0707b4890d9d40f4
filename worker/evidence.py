"""What is on record about a bundle: its evaluations at this site, its time as a shadow, its own validation.

`auscult model evaluate` and `compare` leave their main figures in ``evaluations/NAME-VERSION.json`` of the data folder, for
the question that `auscult model activate` asks. No film is named there: a digest stands for the set of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from model.errors import BundleError
from model.evaluate import evaluate_films
from worker.bootstrap import Database, active_model, bundle_of, make_home
from worker.db.shadow import compare
from worker.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.bundle import Bundle
    from model.evaluate import ScoredFilm
    from worker.db.shadow import Comparison
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: What is compared on the same films: all between 0 and 1, and better when larger.
FIGURES = ("auc", "sensitivity", "specificity")
#: And of two validations, where one threshold may well trade the one for the other.
OVERALL = ("auc", "balanced accuracy")
#: On the same films: so much less speaks against a bundle.
WORSE_BY = 0.02
#: On other films than it was validated with: so much less than there.
FALLEN_BY = 0.05
#: A shadow that gives another label more often, or leaves more films unanswered that the active model answers.
DISAGREES_ABOVE = 0.1
UNANSWERED_ABOVE = 0.05


@dataclass(frozen=True, slots=True)
class Evaluation:
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


def record(settings: Settings, bundle: Bundle, films: Sequence[ScoredFilm], seen: int | None) -> None:
    """Keep an evaluation's figures, in place of earlier ones on the same films; a data folder that is read-only is no error."""
    found = evaluate_films(films, bundle.name, bundle.version)
    digest = hashlib.sha256("\n".join(sorted(f"{film.film_sha256} {film.picture.label}" for film in films)).encode())
    new = Evaluation(
        films_sha256=digest.hexdigest(),
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
        with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False) as stream:
            json.dump({**document, "evaluations": [asdict(item) for item in (*kept, new)]}, stream, indent=1)
        Path(stream.name).replace(path)
    except (OSError, SettingsError):
        logger.warning(
            "the figures are not on record: the data folder cannot be written", extra={"action": "no_record"}
        )


def on_record(settings: Settings, bundle: Bundle) -> list[Evaluation]:
    """The evaluations of this very bundle at this site, the oldest first."""
    try:
        document = json.loads(_path(settings, bundle).read_text(encoding="utf-8"))
        if (document["digest"], document["weights_sha256"]) != (bundle.digest, bundle.weights_sha256):
            return []
        return [Evaluation(**item) for item in document["evaluations"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        logger.warning("what is on record about %s cannot be read", bundle.label, extra={"action": "no_record"})
        return []


def against(settings: Settings, database: Database, bundle: Bundle) -> list[str]:
    """What on record speaks against letting this bundle answer instead of the active one, a sentence each."""
    active = active_model(settings, database)
    if active is None or active == bundle.label:
        return []
    with database.reads() as session:
        comparisons = [found for found in compare(session, bundle.label) if found.active == active]
    return [*_of_shadow(comparisons), *_of_figures(settings, bundle, _if_here(settings, active))]


def _if_here(settings: Settings, active: str) -> Bundle | None:
    """The active model's bundle; one that this machine lacks must not keep another from being activated."""
    try:
        return bundle_of(settings, active)
    except BundleError:
        return None


def _of_shadow(comparisons: Sequence[Comparison]) -> Iterator[str]:
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
    if active and (worse := _worse(bundle.metrics, active.metrics, WORSE_BY, OVERALL)):
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
