"""Where a report comes from: the command, the films, and the network that scored them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from model.evaluation.scoring import ScoredFilm
    from model.serving.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a report comes from. ``made_at`` is a time in UTC, ISO 8601."""

    command: str
    source: Path
    made_at: str
    program: str

    def name_of(self, film: ScoredFilm) -> str:
        """The name of a film in a report: ``below``."""
        return self.below(film.picture.path)

    def below(self, path: Path) -> str:
        """A path relative to the source, which is the folder of the films or a list in that folder."""
        root = next((root for root in (self.source, self.source.parent) if path.is_relative_to(root)), None)
        return _shown(path if root is None else path.relative_to(root))

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {**asdict(self), "source": _shown(self.source)}


def _shown(name: Path | str) -> str:
    """A name as text that can be written: file names may contain bytes that are not UTF-8."""
    return str(name).encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Network:
    """Which network was measured, and the digests that prove it."""

    label: str
    digest: str
    weights_sha256: str

    @classmethod
    def of(cls, bundle: Bundle) -> Network:
        """Take them from a bundle."""
        return cls(bundle.label, bundle.digest, bundle.weights_sha256)


def film_as_dict(film: ScoredFilm, provenance: Provenance) -> dict[str, Any]:
    """A film and its answer in a form that JSON can hold.

    Parameters
    ----------
    film : ScoredFilm
        The film.
    provenance : Provenance
        Gives its name.

    Returns
    -------
    dict
        Plain values.
    """
    picture, score = film.picture, film.score
    return {
        "file": provenance.name_of(film),
        "label": picture.label.value,
        "type": picture.kind,
        "patient": _shown(picture.patient),
        "subgroups": dict(picture.subgroups),
        "rows": film.rows,
        "columns": film.columns,
        "film_sha256": film.film_sha256,
        "called": score.label.value,
        "probability": score.probability,
        "logit": score.logit,
        "band": score.band.value if score.band else None,
        "unlikeness": score.unlikeness,
    }
