"""Everything there is to know of a set of labelled films before one trains on it: the same content as page and JSON."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.data.dataset import Picture, split_by_patient
from model.evaluation.subgroups import MAX_VALUES
from model.inspection.duplicates import Duplicates, find_duplicates
from model.inspection.probes import SENTENCES
from model.inspection.shortcuts import Shortcut, find_shortcuts
from model.labels import Label
from model.notice import NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.data.dataset import Split
    from model.evaluation.provenance import Provenance
    from model.inspection.survey import Survey, Unreadable


ALL, KIND = "all films", "kind of film"


@dataclass(frozen=True, slots=True)
class Count:
    """How many films of each label, and how many children, one part of the films has.

    ``division`` is what divides the films (``ALL``, ``KIND``, or the name of a column), ``name`` the part.
    """

    division: str
    name: str
    normal: int
    pneumonia: int
    patients: int


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """Settings of the split that duplicates are checked against: share of validation and seed."""

    share: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What an inspection found.

    Attributes
    ----------
    counts : tuple of Count
        All films first, then by kind, then by each further column.
    unreadable : tuple of Unreadable
        Films that could not be read; nothing else counts them.
    duplicates : tuple of Duplicates
        Films that occur more than once.
    plan, split : SplitSettings, Split
        The split by child that duplicates were held against.
    shortcuts : tuple of Shortcut
        How well each probe separates the labels.
    model : str or None
        The bundle whose scores the probes were compared with.
    """

    counts: tuple[Count, ...]
    unreadable: tuple[Unreadable, ...]
    duplicates: tuple[Duplicates, ...]
    plan: SplitSettings
    split: Split
    shortcuts: tuple[Shortcut, ...]
    model: str | None

    def as_dict(self, provenance: Provenance) -> dict[str, Any]:
        """Everything in a form that JSON can hold; no patient is named.

        Parameters
        ----------
        provenance : Provenance
            Where the report comes from.

        Returns
        -------
        dict
        """
        return {
            "report": "data",
            "notice": NOTICE,
            "provenance": provenance.as_dict(),
            "model": self.model,
            "counts": [
                {
                    "division": count.division,
                    "name": count.name,
                    Label.NORMAL.value: count.normal,
                    Label.PNEUMONIA.value: count.pneumonia,
                    "patients": count.patients,
                }
                for count in self.counts
            ],
            "unreadable": [
                {"film": provenance.below(film.picture.path), "reason": film.reason} for film in self.unreadable
            ],
            "split": {"share": self.plan.share, "seed": self.plan.seed, "digest": self.split.digest},
            "duplicates": [self._group(group, provenance) for group in self.duplicates],
            "probes": [_probe(shortcut) for shortcut in self.shortcuts],
        }

    def _group(self, group: Duplicates, provenance: Provenance) -> dict[str, Any]:
        return {
            "likeness": group.likeness.value,
            "correlation": group.correlation,
            "mirrored": group.mirrored,
            "labels": [label.value for label in group.labels],
            "patients": group.patients,
            "straddles": group.straddles(self.split),
            "films": [provenance.below(picture.path) for picture in group.pictures],
        }


def _probe(shortcut: Shortcut) -> dict[str, Any]:
    known = shortcut.correlations or {}
    return {
        "name": shortcut.name,
        "what": SENTENCES[shortcut.name],
        "auc": shortcut.auc,
        "auc_ci": list(shortcut.interval),
        "correlations": {label.value: value for label, value in known.items()},
    }


def inspect_films(survey: Survey, plan: SplitSettings, model: str | None = None) -> Inspection:
    """Draw up what a survey shows.

    Parameters
    ----------
    survey : Survey
        What was read of the films.
    plan : SplitSettings
        The split to hold duplicates against; its seed also decides which children the probes leave out together.
    model : str, optional
        The bundle whose logits the survey has.

    Returns
    -------
    Inspection

    Raises
    ------
    DataError
        If there are too few children of one label.
    """
    return Inspection(
        counts=count(survey.pictures),
        unreadable=survey.unreadable,
        duplicates=find_duplicates(survey),
        plan=plan,
        split=split_by_patient(survey.pictures, plan.share, plan.seed),
        shortcuts=find_shortcuts(survey, plan.seed),
        model=model,
    )


def count(pictures: Iterable[Picture]) -> tuple[Count, ...]:
    """Count films by kind and by every further column.

    Parameters
    ----------
    pictures : iterable of Picture
        The films.

    Returns
    -------
    tuple of Count
        All films first; the parts of a division in the order of their names. A column of more than ``MAX_VALUES``
        different values is left out: it is a name or a date.
    """
    parts: dict[str, dict[str, list[Picture]]] = defaultdict(lambda: defaultdict(list))
    for picture in pictures:
        for division, name in ((ALL, "films"), (KIND, picture.kind), *picture.subgroups):
            parts[division][name].append(picture)
    return tuple(
        _count(division, name, members[name])
        for division, members in parts.items()
        if len(members) <= MAX_VALUES
        for name in sorted(members)
    )


def _count(division: str, name: str, films: list[Picture]) -> Count:
    ill = sum(picture.label.target for picture in films)
    patients = len({(picture.kind, picture.patient) for picture in films})
    return Count(division, name or "(empty)", len(films) - ill, ill, patients)
