"""Which studies and films a command selects: the conditions, their SQL, and a message where nothing matches.

Most conditions select studies, with all their films. Those about a film (`reasons`, `outcomes`, `flags`, `senders`)
select films, by the current result of each: one failed film is found in a study whose answer is FINAL.
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
from worker.db.answers.results import in_doubt
from worker.db.identity.withdrawals import is_withdrawn
from worker.db.schema.sql import checked_values, chunks
from worker.db.schema.states import OPEN_TASK_STATES, StudyState
from worker.db.schema.study import Batch, Image, Model, Result, Study, Suspension, Task
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Selector:
    """Which films: each field that is set must hold, of a list any member; `all` selects every study."""

    study_uids: tuple[str, ...] = ()
    accession_numbers: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = ()
    #: First received at or after the one, and before the other.
    received_from: datetime | None = None
    received_to: datetime | None = None
    #: Study dates, first and last, both inclusive.
    study_date_from: date | None = None
    study_date_to: date | None = None
    states: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    #: `name-version` of the model of a current result.
    scored_by: str | None = None
    #: Films by their current result; a reason or flag of the study alone selects all its films.
    reasons: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    #: Films by the AE title that sent them.
    senders: tuple[str, ...] = ()
    #: Films whose result is in doubt by this suspension, or will be, because a task of its model is open.
    suspension: int | None = None
    all: bool = False
    #: Also films that were withdrawn by a rejection note.
    withdrawn: bool = False
    #: At most this many studies: those received first, or a random sample by the seed.
    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether no condition is set; `limit`, `sample` and `withdrawn` alone select nothing."""
        return replace(self, limit=None, sample=None, seed=0, withdrawn=False) == Selector()

    @property
    def is_in_parts(self) -> bool:
        """Whether the films can be taken a range of studies at a time.

        Not where it names studies, which are few, nor where it takes a number of them, which is chosen among all.
        """
        named = self.study_uids or self.accession_numbers or self.patient_ids
        return not named and self.limit is None and self.sample is None

    def canonical(self) -> str:
        """The selector as canonical JSON: equal selections are equal texts. Patient IDs are replaced by digests."""
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
    """A digest of a Patient ID: patient fields are kept in `study` alone, and a batch needs to tell selections apart."""
    return "sha256:" + hashlib.sha256(patient_id.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Matching:
    """How much a selector matches."""

    studies: int
    images: int


def matching(session: Session, selector: Selector) -> Matching:
    """Count the studies and current images that a selector matches."""
    studies = images = 0
    for conditions in parts(session, selector):
        found = _count(session, conditions)
        studies, images = studies + found.studies, images + found.images
    return Matching(studies, images)


def matching_or_error(session: Session, selector: Selector) -> Matching:
    """Count what a selector matches; where that is nothing, raise a `UsageError` that says which part is to blame."""
    _check_named(session, selector)
    found = matching(session, selector)
    if not found.images:
        raise UsageError(_why_nothing(session, selector))
    return found


def parts(session: Session, selector: Selector) -> Iterator[list[ColumnElement[bool]]]:
    """Conditions on `Image` joined with `Study`, one list for each part of the selection; no film is in two parts.

    Raises `UsageError` for a selector without conditions or with an unknown value.
    """
    conditions = _conditions(selector)
    if selector.limit is None and selector.sample is None:
        yield conditions
        return
    for some in chunks(_chosen(session, conditions, selector)):
        yield [*conditions, Study.id.in_(some)]


def range_of(session: Session, selector: Selector) -> tuple[int, int] | None:
    """The numbers of the first and the last study whose time is right; None where there is none."""
    # Each end by itself: SQLite finds one end of an index at once, and reads all of it for both.
    low, high = (select(end(Study.id)).where(*_of_times(selector)).scalar_subquery() for end in (func.min, func.max))
    first, last = session.execute(select(low, high)).one()
    return None if first is None else (first, last)


def models_of(session: Session, selector: Selector) -> list[str]:
    """The models of the current results of the selected films, as `name-version`."""
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


def _chosen(session: Session, conditions: list[ColumnElement[bool]], selector: Selector) -> list[int]:
    """Ids of the studies within `limit` or `sample`: those received first, or drawn by the seed."""
    if selector.limit is not None and selector.sample is not None:
        msg = "--limit takes the studies received first and --sample takes them at random: give one of the two"
        raise UsageError(msg)
    named = select(Study.id).join(Image, Image.study_id == Study.id).where(*conditions).group_by(Study.id)
    if selector.sample is None:
        oldest = named.order_by(Study.first_rx_at, Study.id).limit(selector.limit)
        return list(session.execute(oldest).scalars())
    # Ordered by UID and drawn here, so that the same studies give the same sample in any database.
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
        (Study.state, checked_values(selector.states, StudyState)),
        (Study.label, checked_values(selector.labels, Label)),
        (Image.calling_aet, selector.senders),
    )
    conditions: list[ColumnElement[bool]] = [Study.merged_into_id.is_(None)]
    if not selector.withdrawn:
        conditions.append(~is_withdrawn())
    conditions += [column.in_(values) for column, values in columns if values]
    conditions += _of_times(selector)
    if selector.scored_by:
        conditions.append(_was_scored_by(selector.scored_by))
    if selector.suspension is not None:
        conditions.append(_is_in_doubt(selector.suspension))
    if selector.outcomes:
        outcomes = checked_values(selector.outcomes, Outcome)
        conditions.append(_has_result(Image.id, lambda result: result.outcome.in_(outcomes)))
    if selector.reasons:
        conditions.append(or_(*(_for_reason(code) for code in checked_values(selector.reasons, Reason))))
    if selector.flags:
        conditions.append(or_(*(_flagged(code) for code in checked_values(selector.flags, Reason))))
    return [Image.is_current.is_(True), *conditions]


def _is_in_doubt(suspension_id: int) -> ColumnElement[bool]:
    counts = or_(Task.batch_id.is_(None), Task.batch_id.in_(select(Batch.id).where(~Batch.keep_current)))
    model = select(Suspension.model_id).where(Suspension.id == suspension_id).scalar_subquery()
    is_asked = select(Task.id).where(
        Task.image_id == Image.id, Task.model_id == model, Task.state.in_(OPEN_TASK_STATES), counts
    )
    return or_(_has_result(Image.id, lambda result: in_doubt(result, suspension_id)), is_asked.exists())


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
    """SQL: the result of the film meets the condition; or the study does, and none of its films."""
    other = aliased(Image)
    said_by_a_film = (
        select(other.id)
        .where(other.study_id == Study.id, other.is_current, _has_result(other.id, of_result))
        .correlate(Study)
        .exists()
    )
    return or_(_has_result(Image.id, of_result), and_(of_study, ~said_by_a_film))


def _has_result(image_id: Any, condition: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
    """SQL: the current result of the image meets a condition."""
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
    """Raise `UsageError` for a named value that is not on record, even where the rest matches."""
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
            # By its position, because messages must not hold a Patient ID.
            msg = f"--patient matches nothing: no study on record has the {_ordinal(number)} Patient ID given"
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


def _ordinal(number: int) -> str:
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
    """Why a selector matches nothing: the first part that alone matches nothing, else all parts together."""
    if not selector.withdrawn and _count(session, _conditions(replace(selector, withdrawn=True))).images:
        return "every film that matches was withdrawn by a rejection note: --include-withdrawn takes them too"
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
