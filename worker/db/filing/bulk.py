"""Step 3 of the flow in SQL, for any number of objects in one transaction: the way that every object goes.

Nearly all objects are plain: nothing on record, nor any other object of the transaction, says anything about them but that
their study is there. Those are written together, with as many statements as one of them needs. The others are registered
one by one (`registry.register`), which gives the same rows for plain ones too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from worker.db.answers.recompute import recompute_locked
from worker.db.audit.record import record_all
from worker.db.filing.notes import rows_named
from worker.db.filing.registry import (
    Registration,
    begin_revision,
    note_arrival,
    push,
    register,
    sending,
    task_priority,
)
from worker.db.identity.conflicts import undecided_among
from worker.db.identity.rows import begin, lock_rows, patient_of, update_columns
from worker.db.identity.versions import add_films
from worker.db.schema.study import Image, Receipt
from worker.db.tasks.create import NewImage, insert_new_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from worker.db.identity.arrivals import Arrival, Received
    from worker.db.identity.rows import LockedRows
    from worker.db.schema.study import Study

# Built once: each registration executes it.
_SENDERS = (
    select(Image.study_id, Image.revision, Receipt.source)
    .join(Receipt, Receipt.image_id == Image.id)
    .where(Image.study_id.in_(bindparam("rows", expanding=True)))
    .distinct()
)


def register_all(session: Session, received: Sequence[Received]) -> list[Registration]:
    """Write the rows of objects in the caller's transaction; bytes that came before are only counted.

    Parameters
    ----------
    session : Session
        Of a transaction without locks of studies.
    received : sequence of Received
        Some dozen objects at most, in the order in which they came.

    Returns
    -------
    list of Registration
        In the same order.

    Raises
    ------
    NoActiveModel
        If no model is active.
    """
    clock, moment, aliases = begin(session, [item.facts.sop_uid for item in received])
    arrivals = [item.arrival(aliases, clock, moment) for item in received]
    aliases.ask([arrival.named for arrival in arrivals])
    named = set[int]().union(*(rows_named(session, item.rejection) for item in received))
    rows = lock_rows(session, arrivals, named)
    homes = _homes(session, received, arrivals, rows)
    plain = [(homes[arrival.facts.study_uid], arrival) for arrival in arrivals if arrival.facts.study_uid in homes]
    # The rows of the studies are written once, with their answers.
    with session.no_autoflush:
        written = iter(_write(session, plain, rows.added) if plain else ())
    # The plain ones first: none of the others concerns them.
    done = [next(written) if arrival.facts.study_uid in homes else None for arrival in arrivals]
    return [found or register(session, item) for found, item in zip(done, received, strict=True)]


def _homes(
    session: Session, received: Sequence[Received], arrivals: Sequence[Arrival], rows: LockedRows
) -> dict[str, Study]:
    """The row of each study all of whose arrivals are plain, by Study Instance UID."""
    #: What an object before it, or a note, says something about.
    touched = set(rows.known)
    touched |= {reference.sop_uid for item in received if item.rejection for reference in item.rejection.references}
    homes = {uid: rows.of(uid).own for uid in dict.fromkeys(arrival.facts.study_uid for arrival in arrivals)}
    known = [study.id for uid, own in homes.items() for study in own if uid not in rows.added]
    in_conflict = undecided_among(session, known) if known else set()
    others: set[str] = set()
    for item, arrival in zip(received, arrivals, strict=True):
        facts = arrival.facts
        own = homes[facts.study_uid]
        is_plain = (
            item.rejection is None
            and not facts.is_own_result
            and facts.sop_uid not in touched
            and len(own) == 1
            and own[0].id not in in_conflict
            and _fits(arrival, own[0], is_new=facts.study_uid in rows.added)
        )
        touched.add(facts.sop_uid)
        if not is_plain:
            others.add(facts.study_uid)
    return {uid: own[0] for uid, own in homes.items() if uid not in others}


def _fits(arrival: Arrival, study: Study, *, is_new: bool) -> bool:
    """Whether an object is a further film of the patient of a row, and changes neither patient nor urgency of the row."""
    asked = arrival.facts.requested_priority
    return (
        arrival.named == patient_of(study)
        and not arrival.aliases.concerns(arrival.named)
        and asked in ("", study.requested_priority)
        # The columns of a row without films follow an object as those of no other row do.
        and (is_new or study.n_images > 0)
    )


def _write(session: Session, plain: Sequence[tuple[Study, Arrival]], added: frozenset[str]) -> list[Registration]:
    studies = {study.id: study for study, _ in plain}
    begun: set[int] = set()
    for study, arrival in plain:
        note_arrival(study, arrival)
        if study.state.is_terminal and study.id not in begun:
            begin_revision(study, arrival)
            begun.add(study.id)
        else:
            push(study, arrival)
    sent = _senders(session, [study.id for study in studies.values() if study.study_uid not in added])
    image_ids = add_films(session, plain)
    images: list[NewImage] = []
    events = []
    for image_id, (study, arrival) in zip(image_ids, plain, strict=True):
        update_columns(session, study, arrival, image_id, has_versions=False)
        images.append(NewImage(image_id, study.revision, task_priority(study, arrival)))
        sender = (study.id, study.revision, arrival.source)
        if sender not in sent:
            sent.add(sender)
            events.append(sending(study, arrival))
    tasks = insert_new_tasks(session, images)
    record_all(session, events)
    recompute_locked(session, list(studies.values()))
    return [
        Registration(
            study.id,
            image.image_id,
            task.live_id,
            is_new_image=True,
            is_duplicate=False,
            revision=study.revision,
            shadow_task_id=task.shadow_id,
            store_key=arrival.store_key,
        )
        for (study, arrival), image, task in zip(plain, images, tasks, strict=True)
    ]


def _senders(session: Session, study_ids: Iterable[int]) -> set[tuple[int, int, str]]:
    """Who has sent to which revision of these rows."""
    ids = list(study_ids)
    if not ids:
        return set()
    return {(study_id, revision, source) for study_id, revision, source in session.execute(_SENDERS, {"rows": ids})}
