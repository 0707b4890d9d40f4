"""The shift stress test: configurations are compared on films that were held out because they differ.

A random split of one hospital's films says little about another hospital. So training leaves out whole groups of films:
those whose style is least like that of their label, one of the two numberings of the normal films, and the last numbers
of every type.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.dataset import Split, load_films, read_picture, split_by_patient
from model.data.style import style_features, style_propensity
from model.errors import DataError
from model.labels import Label
from model.statistics.metrics import auc
from model.training.predict import predict_logits
from model.training.run import member_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.config import TrainingConfig
    from model.data.dataset import Picture
    from model.training.train import Progress

STYLE_SHARE = 0.25
"""Share of each label's films that are held out for their style."""

RANGE_SHARE = 0.15
"""Share of each type's patient numbers, the last ones, that are held out."""

STYLE_SIZE = 160
SENSITIVITY = 0.96
"""Sensitivity at which specificity is measured, so that candidates with different thresholds can be compared."""


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Some films to train on and some others to be judged."""

    name: str
    split: Split


@dataclass(frozen=True, slots=True)
class StressRow:
    """The result of a candidate on one hold-out; ``specificity`` is that where sensitivity is ``SENSITIVITY``."""

    candidate: str
    hold_out: str
    films: int
    auc: float
    specificity: float

    def as_dict(self) -> dict[str, Any]:
        """Give the row in a form that JSON can hold."""
        return asdict(self)


def hold_outs(
    pictures: Sequence[Picture], seed: int, reader: Callable[[Path], NDArray[np.uint8]] = read_picture
) -> tuple[HoldOut, ...]:
    """Divide films in the ways that the test needs.

    Parameters
    ----------
    pictures : sequence of Picture
        All labelled films.
    seed : int
        Of the random split that the others are compared with, and of the styles' cross-fitting.
    reader : callable, optional
        Gives the grey film of a path.

    Returns
    -------
    tuple of HoldOut
        ``random`` first; ``numbering`` only where the normal films have two numberings.

    Raises
    ------
    DataError
        If there are too few patients.
    """
    found = [
        HoldOut("random", split_by_patient(pictures, RANGE_SHARE, seed)),
        HoldOut("style", _without(pictures, _unlike_their_label(pictures, seed, reader))),
        HoldOut("last numbers", _without(pictures, _last_numbers(pictures))),
    ]
    sorts = {picture.kind for picture in pictures if picture.label is Label.NORMAL}
    if sorts >= {"IM", "NORMAL2-IM"}:
        ill = [picture for picture in pictures if picture.label is Label.PNEUMONIA]
        healthy = split_by_patient(pictures, 0.3, seed).validation
        judged = {picture for picture in pictures if picture.kind == "NORMAL2-IM"} | (set(healthy) & set(ill))
        found.append(HoldOut("numbering", _without(pictures, judged)))
    return tuple(found)


def stress(
    config: TrainingConfig,
    pictures: Sequence[Picture],
    held: Sequence[HoldOut],
    out: Path,
    progress: Callable[[Progress], None] | None = None,
    reader: Callable[[Path], NDArray[np.uint8]] = read_picture,
) -> list[StressRow]:
    """Train a candidate once for each hold-out and judge what was held out.

    Parameters
    ----------
    config : TrainingConfig
        The candidate; its folds do not matter.
    pictures : sequence of Picture
        All labelled films.
    held : sequence of HoldOut
        What ``hold_outs`` gave for them.
    out : Path
        Folder of the candidate's runs; what is there already is continued.
    progress : callable, optional
        Called after every batch.
    reader : callable, optional
        Gives the grey film of a path.

    Returns
    -------
    list of StressRow

    Raises
    ------
    ModelError
        If the films or the folder cannot be used.
    """
    # Both load TensorFlow.
    from model.network.kinds import build_network
    from model.training.train import train

    rows = []
    states = train(config, pictures, out, progress, reader, [hold_out.split for hold_out in held])
    for number, (hold_out, state) in enumerate(zip(held, states, strict=True), start=1):
        network = build_network(config.network, config.input_size)
        network.load_weights(member_folder(out, number, len(held)) / state.best_weights)
        films = load_films(hold_out.split.validation, config.input_size, reader)
        logits = predict_logits(network, films.pixels)
        kept = np.quantile(logits[films.targets == 1], 1 - SENSITIVITY)
        rows.append(
            StressRow(
                candidate=f"{config.name}-{config.version}",
                hold_out=hold_out.name,
                films=len(films),
                auc=auc(films.targets, logits),
                specificity=float(np.mean(logits[films.targets == 0] < kept)),
            )
        )
    return rows


def as_evidence(rows: Sequence[StressRow], command: str) -> dict[str, Any]:
    """Give the table in the form that a model card shows."""
    names = list(dict.fromkeys(row.hold_out for row in rows))
    found = {(row.candidate, row.hold_out): row for row in rows}
    return {
        "title": "Candidates under stress",
        "text": (
            "Each candidate was trained again, without the films that were held out: at random, for a style that is least "
            "like that of their label, with the last numbers of every type, or the normal films of one numbering. "
            f"AUC, and specificity where sensitivity is {SENSITIVITY:.0%}."
        ),
        "command": command,
        "columns": ["candidate", *(f"{name} ({_films(rows, name)} films)" for name in names)],
        "rows": [
            [candidate, *(_cell(found.get((candidate, name))) for name in names)]
            for candidate in dict.fromkeys(row.candidate for row in rows)
        ],
    }


def _films(rows: Sequence[StressRow], name: str) -> int:
    return next(row.films for row in rows if row.hold_out == name)


def _cell(row: StressRow | None) -> str:
    return f"{row.auc:.4f}, {row.specificity:.3f}" if row else "not run"


def _without(pictures: Sequence[Picture], judged: Iterable[Picture]) -> Split:
    """Train on the films of all children of whom no film is judged."""
    validation = sorted(set(judged))
    children = {(picture.kind, picture.patient) for picture in validation}
    train = [picture for picture in pictures if (picture.kind, picture.patient) not in children]
    for side in (train, validation):
        if {picture.label for picture in side} != set(Label):
            raise DataError("there are too few patients for the stress test: both labels must be on both sides")
    return Split(tuple(sorted(train)), tuple(validation))


def _unlike_their_label(
    pictures: Sequence[Picture], seed: int, reader: Callable[[Path], NDArray[np.uint8]]
) -> list[Picture]:
    films = load_films(pictures, STYLE_SIZE, reader)
    children = np.array([f"{picture.kind} {picture.patient}" for picture in pictures])
    pneumonia = style_propensity(style_features(films.pixels), films.targets, children, seed)
    own = np.where(films.targets == 1, pneumonia, 1 - pneumonia)
    chosen: list[Picture] = []
    for target in (0, 1):
        among = np.flatnonzero(films.targets == target)
        order = among[np.argsort(own[among], kind="stable")]
        chosen += [pictures[place] for place in order[: round(STYLE_SHARE * len(among))]]
    return chosen


def _last_numbers(pictures: Sequence[Picture]) -> list[Picture]:
    patients: dict[str, set[str]] = defaultdict(set)
    for picture in pictures:
        patients[picture.kind].add(picture.patient)
    last: set[tuple[str, str]] = set()
    for kind, names in patients.items():
        ordered = sorted(names, key=lambda name: (len(name), name))
        last |= {(kind, name) for name in ordered[round(len(ordered) * (1 - RANGE_SHARE)) :]}
    return [picture for picture in pictures if (picture.kind, picture.patient) in last]
