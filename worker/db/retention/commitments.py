"""Storage commitments that were given, on record before the requester is told: which objects, and until when."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from worker.db.audit.codes import Act
from worker.db.audit.objects import name_images
from worker.db.audit.record import Actor, record
from worker.db.retention.files import clock, lock_studies
from worker.db.schema.sql import fitted
from worker.db.schema.study import Commitment, Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session


def commit_objects(
    session: Session, image_ids: Sequence[int], requester: str, transaction_uid: str, days: int
) -> set[int]:
    """Record that these originals are kept for so many days from now; those that a purge took meanwhile are left out.

    Under the locks of their studies, which a purge takes too. The same transaction again prolongs the time. Returns the
    ids of the images whose originals are kept.
    """
    studies = select(Image.study_id).where(Image.id.in_(image_ids)).distinct()
    lock_studies(session, list(session.scalars(studies)))
    kept = set(session.scalars(select(Image.id).where(Image.id.in_(image_ids), Image.original_purged_at.is_(None))))
    now = clock(session)
    of_transaction = (Commitment.image_id.in_(kept), Commitment.transaction_uid == transaction_uid)
    known = set(session.scalars(select(Commitment.image_id).where(*of_transaction)))
    until = now + timedelta(days=days)
    if known:
        later = update(Commitment).where(*of_transaction).values(until=until)
        session.execute(later.execution_options(synchronize_session=False))
    texts = fitted(Commitment, {"requester": requester, "transaction_uid": transaction_uid})
    if kept - known:
        rows = [{"image_id": image_id, **texts, "at": now, "until": until} for image_id in sorted(kept - known)]
        session.execute(insert(Commitment), rows)
        detail = {"transaction_uid": transaction_uid, "objects": len(rows), "until": until.isoformat()}
        event_id = record(session, Act.COMMITMENT_GIVEN, Actor(requester), detail=detail)
        name_images(session, event_id, sorted(kept - known))
    return kept
