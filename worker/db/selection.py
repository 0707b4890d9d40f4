"""Which studies and films a command names: what may be said, the SQL of it, and a sentence where nothing matches.

Most conditions choose studies, with all their films. Those about a film (`reasons`, `outcomes`, `flags`, `senders`)
choose films, by the result that counts for each: one film that failed is found in a study whose answer is FINAL.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Text, and_, cast, func, literal, or_, select
from sqlalchemy.orm import Session, aliased

from dicom_io.reasons import Outcome, Reason
from model.labels import Label
from worker.db.schema import Image, Model, Result, Study
from worker.db.sql import chunks
from worker.db.states import StudyState
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Selector:
    """Which films: every field that is set must hold, of a list any member; `all` is needed to name every study."""

    study_uids: tuple[str, ...] = ()
    accession_numbers: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = ()
    #: Received at or after, and before.
    received_from: datetime | None = None
    received_to: datetime | None = None
    #: Study dates, both inclusive.
    study_date_from: date | None = None
    study_date_to: date | None = None
    states: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    #: `name-version` of the model of a current result.
    scored_by: str | None = None
    #: Films by their current result; a reason or flag that the study alone has takes all its films.
    reasons: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    #: Films by the AE title that sent them.
    senders: tuple[str, ...] = ()
    all: bool = False
    #: At most so many studies: those received first, or as many drawn at random by the seed.
    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether no study is named; how many of them alone names none."""
        return replace(self, limit=None, sample=None, seed=0) == Selector()

    def canonical(self) -> str:
        """Write the selector as JSON in one spelling: the same question is the same text, without a Patient ID."""
        said = {name: _plain(value) for name, value in asdict(self).items() if value}
        if self.patient_ids:
            said["patient_ids"] = sorted({_digest(value) for value in self.patient_ids})
        return json.dumps(said, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return sorted(set(value)) if isinstance(value, tuple) else value


def _digest(patient_id: str) -> str:
    """A Patient ID stays in the table `study`; a batch keeps what tells two questions apart."""
    return "sha256:" + hashlib.sha256(patient_id.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Matching:
    """How much a selector names."""

    studies: int
    images: int


def matching(session: Session, selector: Selector) -> Matching:
    """Count the studies and current images a selector names."""
    studies = images = 0
    for conditions in parts(session, selector):
        found = _count(session, conditions)
        studies, images = studies + found.studies, images + found.images
    return Matching(studies, images)


def matching_or_error(session: Session, selector: Selector) -> Matching:
    """Count what a selector names; raises `UsageError` that says which part of it matches nothing."""
    _check_named(session, selector)
    found = matching(session, selector)
    if not found.images:
        raise UsageError(_why_nothing(session, selector))
    return found


def parts(session: Session, selector: Selector) -> Iterator[list[ColumnElement[bool]]]:
    """Conditions on `Image` joined with `Study`, one list for each part of the selection; no film is in two parts.

    Raises `UsageError` for a selector that names nothing, or has an unknown word.
    """
    conditions = _conditions(selector)
    if selector.limit is None and selector.sample is None:
        yield conditions
        return
    for some in chunks(_chosen(session, conditions, selector)):
        yield [*conditions, Study.id.in_(some)]


def models_of(session: Session, selector: Selector) -> list[str]:
    """The models whose results count for the selected films now, as `name-version`."""
    label = Model.name + literal("-") + Model.version
    found: set[str] = set()
    for conditions in parts(session, selector):
        rows = (
            select(label)
            .distinct()
            .select_from(Result)
            .join(Model, Model.id == Result.model_id)
            .join(Image, Image.id == Result.image_id)
            .join(Study, Study.id == Image.study_id)
            .where(Result.is_current, *conditions)
        )
        found.update(session.execute(rows).scalars())
    return sorted(found)


def known(words: Iterable[str], enum: type[StrEnum]) -> list[str]:
    """The words as values of an enum; raises `UsageError` naming what may be said."""
    allowed = [member.value for member in enum]
    wrong = sorted(set(words) - set(allowed))
    if wrong:
        msg = f"unknown {enum.__name__}: {', '.join(wrong)}; say one of {', '.join(allowed)}"
        raise UsageError(msg)
    return list(words)


def _chosen(session: Session, conditions: list[ColumnElement[bool]], selector: Selector) -> list[int]:
    """Ids of the studies that `limit` or `sample` leaves: those received first, or drawn by the seed."""
    if selector.limit is not None and selector.sample is not None:
        msg = "--limit takes the studies received first and --sample takes them at random: give one of the two"
        raise UsageError(msg)
    named = select(Study.id).join(Image, Image.study_id == Study.id).where(*conditions).group_by(Study.id)
    if selector.sample is None:
        oldest = named.order_by(Study.first_rx_at, Study.id).limit(selector.limit)
        return list(session.execute(oldest).scalars())
    # Ordered by what is the same wherever these studies are stored, and drawn by us: not by the database's chance.
    ids = list(session.execute(named.order_by(Study.study_uid)).scalars())
    draw = random.Random(selector.seed)  # noqa: S311 - a sample to look at, not a secret
    return sorted(draw.sample(ids, min(selector.sample, len(ids))))


def _count(session: Session, conditions: Sequence[ColumnElement[bool]]) -> Matching:
    studies, images = session.execute(
        select(func.count(Study.id.distinct()), func.count())
        .select_from(Image)
        .join(Study, Study.id == Image.study_id)
        .where(*conditions)
    ).one()
    return Matching(studies, images)


def _conditions(selector: Selector) -> list[ColumnElement[bool]]:
    if selector.is_empty:
        msg = "a re-run needs a selection: name studies, or all of them by --all"
        raise UsageError(msg)
    columns = (
        (Study.study_uid, selector.study_uids),
        (Study.accession_number, selector.accession_numbers),
        (Study.patient_id, selector.patient_ids),
        (Study.state, known(selector.states, StudyState)),
        (Study.label, known(selector.labels, Label)),
        (Image.calling_aet, selector.senders),
    )
    conditions: list[ColumnElement[bool]] = [Study.merged_into_id.is_(None)]
    conditions += [column.in_(values) for column, values in columns if values]
    conditions += _of_times(selector)
    if selector.scored_by:
        conditions.append(_was_scored_by(selector.scored_by))
    if selector.outcomes:
        outcomes = known(selector.outcomes, Outcome)
        conditions.append(_has_result(Image.id, lambda result: result.outcome.in_(outcomes)))
    if selector.reasons:
        conditions.append(or_(*(_for_reason(code) for code in known(selector.reasons, Reason))))
    if selector.flags:
        conditions.append(or_(*(_flagged(code) for code in known(selector.flags, Reason))))
    return [Image.is_current.is_(True), *conditions]


def _of_times(selector: Selector) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if selector.received_from:
        conditions.append(Study.first_rx_at >= selector.received_from)
    if selector.received_to:
        conditions.append(Study.first_rx_at < selector.received_to)
    if selector.study_date_from:
        conditions.append(Study.study_date >= selector.study_date_from)
    if selector.study_date_to:
        conditions.append(Study.study_date <= selector.study_date_to)
    return conditions


def _for_reason(code: str) -> ColumnElement[bool]:
    return _film_or_study(Study.reason == code, lambda result: result.reason_code == code)


def _flagged(code: str) -> ColumnElement[bool]:
    quoted = f'"{code}"'
    return _film_or_study(
        cast(Study.flags, Text).contains(quoted, autoescape=True),
        lambda result: cast(result.flags, Text).contains(quoted, autoescape=True),
    )


def _film_or_study(
    of_study: ColumnElement[bool], of_result: Callable[[Any], ColumnElement[bool]]
) -> ColumnElement[bool]:
    """The film's result says so; or the study does, and none of its films."""
    other = aliased(Image)
    said_by_a_film = (
        select(other.id)
        .where(other.study_id == Study.id, other.is_current, _has_result(other.id, of_result))
        .correlate(Study)
        .exists()
    )
    return or_(_has_result(Image.id, of_result), and_(of_study, ~said_by_a_film))


def _has_result(image_id: Any, condition: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Whether the result that counts for the image is so."""
    result = aliased(Result)
    return select(result.id).where(result.image_id == image_id, result.is_current, condition(result)).exists()


def _was_scored_by(model: str) -> ColumnElement[bool]:
    other = aliased(Image)
    return (
        select(other.id)
        .join(Result, Result.image_id == other.id)
        .join(Model, Model.id == Result.model_id)
        .where(
            other.study_id == Study.id,
            other.is_current,
            Result.is_current,
            Model.name + literal("-") + Model.version == model,
        )
        .exists()
    )


def _check_named(session: Session, selector: Selector) -> None:
    """Raise `UsageError` for anything named that is not on record, even where the rest matches."""
    for option, column, values in (
        ("--study", Study.study_uid, selector.study_uids),
        ("--accession", Study.accession_number, selector.accession_numbers),
        ("--sender", Image.calling_aet, selector.senders),
    ):
        if missing := sorted(set(values) - _on_record(session, column, values)):
            msg = f"{option} matches nothing: {', '.join(missing)} is not on record"
            raise UsageError(msg)
    there = _on_record(session, Study.patient_id, selector.patient_ids)
    for number, patient_id in enumerate(selector.patient_ids, start=1):
        if patient_id not in there:
            # Named by its place: a Patient ID stays out of messages.
            msg = f"--patient matches nothing: no study on record has the {_place(number)} Patient ID given"
            raise UsageError(msg)
    if selector.scored_by:
        _check_model(session, selector.scored_by)
    for first, last, what in (
        (selector.received_from, selector.received_to, "received"),
        (selector.study_date_from, selector.study_date_to, "study-date"),
    ):
        if first is not None and last is not None and (first > last or (first == last and what == "received")):
            msg = f"--{what}-from is not before --{what}-to: that range is empty"
            raise UsageError(msg)


def _place(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def _on_record(session: Session, column: Any, values: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in chunks(list(dict.fromkeys(values))):
        found.update(session.execute(select(column).distinct().where(column.in_(some))).scalars())
    return found


def _check_model(session: Session, model: str) -> None:
    label = Model.name + literal("-") + Model.version
    has_results = select(Result.id).where(Result.model_id == Model.id, Result.is_current).exists()
    models = list(session.execute(select(label).where(has_results).order_by(Model.id)).scalars())
    if model not in models:
        msg = f"--scored-by matches nothing: no current result is by {model}; there are some by {', '.join(models) or 'none'}"
        raise UsageError(msg)


#: The option that sets a field, for a message.
_OPTIONS = {
    "study_uids": "--study",
    "accession_numbers": "--accession",
    "patient_ids": "--patient",
    "states": "--state",
    "labels": "--label",
    "scored_by": "--scored-by",
    "reasons": "--reason",
    "outcomes": "--outcome",
    "flags": "--flag",
    "senders": "--sender",
    "received_from": "--received-from",
    "received_to": "--received-to",
    "study_date_from": "--study-date-from",
    "study_date_to": "--study-date-to",
    "all": "--all",
}
_RANGES = (("received_from", "received_to"), ("study_date_from", "study_date_to"))


def _why_nothing(session: Session, selector: Selector) -> str:
    """Which part of a selector that matches nothing is to blame: the first that alone matches nothing, or all of them."""
    said = [field.name for field in fields(selector) if field.name in _OPTIONS and getattr(selector, field.name)]
    in_ranges = {name: pair for pair in _RANGES for name in pair}
    groups = dict.fromkeys(in_ranges.get(name, (name,)) for name in said)
    for group in groups:
        alone = Selector(**{name: getattr(selector, name) for name in group})
        if not _count(session, _conditions(alone)).images:
            return f"nothing matches {_said(selector, group)}"
    return f"no study matches all of {_said(selector, said)} together"


def _said(selector: Selector, names: Iterable[str]) -> str:
    return " ".join(_in_words(name, getattr(selector, name)) for name in names if getattr(selector, name))


def _in_words(name: str, value: Any) -> str:
    option = _OPTIONS[name]
    if name in ("all", "patient_ids"):
        return option
    values = value if isinstance(value, tuple) else (_plain(value),)
    return " ".join(f"{option} {item}" for item in values)
