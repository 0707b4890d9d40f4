"""The answer of a study, decided from its films by one pure function: no SQL, no clock.

The rule keeps promise 2 (no silent normal): NORMAL needs a finished study, at least one judged film and no failed one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicom_io.reasons import Outcome, Reason
from model.labels import Band, Label
from worker.db.schema.states import StudyState

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Outcomes of a film that should have been judged and was not.
FAILURES = (Outcome.FAILED, Outcome.BAD_INPUT)


@dataclass(frozen=True, slots=True)
class FilmResult:
    """The current result of one current image; `outcome` is None while there is no result."""

    outcome: Outcome | None = None
    reason: Reason | None = None
    flags: tuple[str, ...] = ()
    probability: float | None = None
    threshold: float | None = None
    label: Label | None = None
    model_id: int | None = None
    #: Whether the result belongs to the study's present revision.
    is_new: bool = True
    band: Band | None = None
    #: Whether the result falls under a suspension of its model.
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the row of a study says; the fields are columns of `study`."""

    state: StudyState
    label: Label | None = None
    probability: float | None = None
    threshold: float | None = None
    reason: Reason | None = None
    flags: tuple[str, ...] = ()
    model_id: int | None = None
    band: Band | None = None


def decide(
    films: Sequence[FilmResult],
    *,
    ready: bool,
    open_tasks: bool,
    doubts: Sequence[Reason] = (),
    lowered: bool = False,
    withdrawn: bool = False,
) -> Answer:
    """Decide the answer of a study from its current images.

    Parameters
    ----------
    films : sequence of FilmResult
        One for each current image that is not withdrawn.
    ready : bool
        Whether the study is complete: no more objects are awaited.
    open_tasks : bool
        Whether live work on a current image is still to be done.
    doubts : sequence of Reason
        What speaks against the study being complete, of one patient and rightly judged. A doubt turns NORMAL into
        WITHHELD and flags every other answer.
    lowered : bool
        Whether an earlier answer was PNEUMONIA.
    withdrawn : bool
        Whether films of the study were withdrawn. Then the answer is flagged, and where no other film was judged it is
        withheld.

    Returns
    -------
    Answer
        Terminal exactly when the study is ready and has no open tasks.
    """
    answer = _without_doubts(films, ready=ready, open_tasks=open_tasks, withdrawn=withdrawn)
    flags = {*answer.flags, *doubts}
    if withdrawn:
        flags.add(Reason.WITHDRAWN)
    if answer.label is Label.NORMAL and doubts:
        answer = Answer(StudyState.WITHHELD, reason=max(doubts, key=_telling), model_id=answer.model_id)
    if lowered and answer.label is not Label.PNEUMONIA:
        flags.add(Reason.ANSWER_LOWERED)
    return replace(answer, flags=tuple(sorted(flags)))


def _without_doubts(films: Sequence[FilmResult], *, ready: bool, open_tasks: bool, withdrawn: bool) -> Answer:
    positive = [film for film in films if film.outcome is Outcome.OK and film.label is Label.PNEUMONIA]
    if not ready or open_tasks:
        state = _open_state(films, ready=ready)
        return _labelled(state, Label.PNEUMONIA, positive) if positive else Answer(state)
    if positive:
        return _labelled(StudyState.FINAL, Label.PNEUMONIA, positive)
    failed = [film for film in films if film.outcome is None or film.outcome in FAILURES]
    if failed:
        return _unlabelled(StudyState.FAILED, failed)
    judged = [film for film in films if film.outcome is Outcome.OK]
    if judged:
        return _labelled(StudyState.FINAL, Label.NORMAL, judged)
    if withdrawn:
        return Answer(StudyState.WITHHELD, reason=Reason.WITHDRAWN)
    return _unlabelled(StudyState.NOT_APPLICABLE, films)


def _open_state(films: Sequence[FilmResult], *, ready: bool) -> StudyState:
    if any(film.outcome and film.is_new for film in films):
        return StudyState.PROVISIONAL
    return StudyState.QUEUED if ready else StudyState.RECEIVING


def _labelled(state: StudyState, label: Label, films: Sequence[FilmResult]) -> Answer:
    """Answer by the film of the largest probability, with its own threshold, model and band."""
    deciding = max(films, key=lambda film: film.probability or 0.0)
    flags = tuple(sorted({flag for film in films for flag in film.flags}))
    return Answer(state, label, deciding.probability, deciding.threshold, None, flags, deciding.model_id, deciding.band)


def _unlabelled(state: StudyState, films: Sequence[FilmResult]) -> Answer:
    """Give the most telling reason; an image that ended without a result is an internal error."""
    reasons = [(film.reason or Reason.INTERNAL_ERROR, film.model_id) for film in films]
    if not reasons:
        # Every row had a film once. Where none counts, another study or patient has taken it.
        return Answer(state, reason=Reason.IDENTITY_CONFLICT)
    reason, model_id = max(reasons, key=lambda item: _telling(item[0]))
    return Answer(state, reason=reason, model_id=model_id)


def _telling(reason: Reason) -> tuple[int, str]:
    """The order of reasons; the code decides between equals, so that the same films give the same row."""
    return reason.telling, reason.value
