"""The stress table of an existing bundle: from the logits that it keeps, or from films, without training."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from model.augmentation.changed_films import AT_ONCE, changed_films
from model.augmentation.perturb import PERTURBATIONS
from model.data.dataset import split_by_patient
from model.data.film_digests import picture_digest
from model.data.folds import folds
from model.errors import DataError
from model.labels import Label
from model.operating.calibration import UNCALIBRATED
from model.operating.stress_table import Stressed, numbered, stress_table
from model.preprocess import scale
from model.serving.bundle import read_manifest, stressed_of
from model.serving.engine import load_network, open_engine
from model.serving.manifest import json_digest
from model.serving.seen import seen_in_training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.data.dataset import Picture, Split
    from model.serving.bundle import Bundle
    from model.serving.engine import EngineKind

    Judge = Callable[[NDArray[np.float32]], NDArray[np.float64]]


class ScoredBy(StrEnum):
    """Which network scored the films. The values are in the JSON of the command."""

    KEPT = "kept in the bundle: held-out films, each by the network that had not seen it"
    HELD_OUT = "held-out films, each by the network or member that had not seen it"
    SERVED = "the network as it is served"


@dataclass(frozen=True, slots=True)
class BundleStress:
    """A bundle's stress table: ``table`` as ``stress_table`` gives it; how many films the network was trained on, if known."""

    judged: ScoredBy
    seen: int | None
    table: dict[str, Any]


def stress_kept(bundle: Bundle) -> BundleStress | None:
    """The table of the logits that a bundle keeps; None where it keeps none, as older ones do."""
    stressed = stressed_of(bundle)
    return None if stressed is None else BundleStress(ScoredBy.KEPT, 0, _table(bundle, stressed))


def stress_films(
    bundle: Bundle,
    pictures: Sequence[Picture],
    reader: Callable[[Path], NDArray[np.uint8]],
    engine: EngineKind,
    progress: Callable[[int, int], None] | None = None,
) -> BundleStress:
    """Score films with a bundle, changed in every way of ``perturb``.

    Parameters
    ----------
    bundle : Bundle
        The bundle.
    pictures : sequence of Picture
        Labelled films. If they are the films of its training (the digest of their split proves it) and its network for
        Keras holds its members, each film is scored by the member that was trained without it; of a bundle with one
        split only the validation films are scored. Otherwise the network as it is served scores all films.
    reader : callable
        Gives the grey film of a path; called from two threads.
    engine : str
        ``litert`` or ``keras``, for the network as it is served.
    progress : callable, optional
        Called with films done and films in all.

    Returns
    -------
    BundleStress

    Raises
    ------
    DataError
        If a film cannot be read or one label has none.
    EngineError
        If the network cannot be opened.
    """
    parts = _held_out(bundle, pictures, engine)
    judged = ScoredBy.HELD_OUT if parts else ScoredBy.SERVED
    parts = parts or [(tuple(pictures), open_engine(bundle, engine).logits)]
    asked = [picture for films, _ in parts for picture in films]
    if {picture.label for picture in asked} != set(Label):
        raise DataError("a stress table needs films of both labels")
    digests: dict[Path, str] = {}

    def read(path: Path) -> NDArray[np.uint8]:
        film = reader(path)
        digests[path] = picture_digest(film)
        return film

    logits = np.empty((len(PERTURBATIONS), len(asked)))
    done = 0
    for films, judge in parts:
        changed = changed_films(films, bundle.input_size, read)
        while some := list(islice(changed, AT_ONCE)):
            rows = np.stack(some, axis=1)
            inputs = scale(rows.reshape(-1, *rows.shape[2:]))[..., np.newaxis]
            logits[:, done : done + len(some)] = judge(inputs).reshape(rows.shape[:2])
            done += len(some)
            if progress is not None:
                progress(done, len(asked))
    stressed = Stressed(
        names=tuple(each.name for each in PERTURBATIONS),
        roles=tuple(each.role for each in PERTURBATIONS),
        targets=np.array([picture.label.target for picture in asked], dtype=np.float64),
        children=numbered(asked),
        logits=logits,
    )
    seen = 0 if judged is ScoredBy.HELD_OUT else seen_in_training(bundle.path, digests.items())
    return BundleStress(judged, seen, _table(bundle, stressed))


def _table(bundle: Bundle, stressed: Stressed) -> dict[str, Any]:
    return stress_table(stressed, bundle.calibration or UNCALIBRATED, bundle.threshold, bundle.bands)


def _held_out(
    bundle: Bundle, pictures: Sequence[Picture], engine: EngineKind
) -> list[tuple[tuple[Picture, ...], Judge]] | None:
    """The films of each held-out part, and the network trained without them; None where that cannot be proven or done."""
    splits = _splits(read_manifest(bundle.path), pictures)
    if splits is None:
        return None
    if len(splits) == 1:
        return [(splits[0].validation, open_engine(bundle, engine).logits)]
    judges = _members(bundle, len(splits))
    return [(split.validation, judge) for split, judge in zip(splits, judges, strict=True)] if judges else None


def _splits(manifest: dict[str, Any], pictures: Sequence[Picture]) -> tuple[Split, ...] | None:
    """The splits of a bundle's training, computed again; None where their digest shows that these are other films."""
    data, settings = manifest["training_data"], manifest["training"]["settings"]
    if len(pictures) != data["films"]:
        return None
    if data["folds"]:
        splits = folds(pictures, data["folds"], settings["split_seed"])
        digest = json_digest(list(dict.fromkeys(split.digest for split in splits)))
    else:
        splits = (split_by_patient(pictures, settings["validation_share"], settings["split_seed"]),)
        digest = splits[0].digest
    return splits if digest == data["split_digest"] else None


def _members(bundle: Bundle, count: int) -> list[Judge] | None:
    """The members whose logits a network averages, separately; None where their number differs from ``count``."""
    network = load_network(bundle)
    logits = network.layers[-1].input
    if not isinstance(logits, list) or len(logits) != count:
        return None

    from keras import Model

    def judge_of(member: Model) -> Judge:
        def judge(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
            found = member.predict(inputs, batch_size=64, verbose=0)
            return np.asarray(found[:, 0], dtype=np.float64)

        return judge

    return [judge_of(Model(network.inputs, logit)) for logit in logits]
