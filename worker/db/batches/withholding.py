"""The worklist after a suspension: each NORMAL in doubt is withheld at once, then each study is answered again.

Both steps may be repeated and may run beside anything else. Answers computed later need neither, because
`answers.recompute` reads suspensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, func, literal, select, update

from dicom_io.reasons import Reason
from model.labels import Label
from worker.db.answers import inboxes
from worker.db.answers.recompute import recompute
from worker.db.answers.results import in_doubt
from worker.db.models.bundles import hold_models
from worker.db.schema.states import StudyState
from worker.db.schema.study import Image, Result, Study, Suspension
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: The most results of one step: a step locks their studies, and changes of models wait for it.
STEP = 200
_CODE = f'"{Reason.MODEL_SUSPENDED}"'


def withhold(session: Session) -> int:
    """Withhold each NORMAL that depends on a result in doubt, by one statement; returns how many there were.

    A hundred thousand rows take seconds this way, and minutes to be answered one by one, which `follow` does later.
    """
    hold_models(session)
    doubted = (
        select(Image.study_id)
        .join(Result, Result.image_id == Image.id)
        .where(Image.is_current, Result.is_current, in_doubt())
    )
    is_normal = (Study.label == Label.NORMAL, Study.id.in_(doubted))
    # In the order of ids, as all code locks studies.
    session.execute(select(Study.id).where(*is_normal).order_by(Study.id).with_for_update(key_share=True)).all()
    flags = case(
        (Study.flags == (), literal(f"[{_CODE}]")),
        else_=func.replace(Study.flags, "]", f",{_CODE}]"),
    )
    values = {
        "state": StudyState.WITHHELD,
        "label": None,
        "probability": None,
        "threshold": None,
        "band": None,
        "reason": Reason.MODEL_SUSPENDED.value,
        "flags": flags,
        "finished_at": now_utc(),
    }
    withheld = update(Study).where(*is_normal).values(values).returning(Study.id)
    return len(session.execute(withheld.execution_options(synchronize_session=False)).all())


def follow(session: Session) -> int | None:
    """Answer again the next studies of a suspension that began or ended; returns how many results are left, None when done.

    The newest come first. An error stops this at the same place for the next call, so that no study is left out.
    """
    hold_models(session)
    row = session.execute(
        select(Suspension)
        .where(Suspension.next_result_id.is_not(None))
        .order_by(Suspension.id)
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if row is None or row.next_result_id is None:
        return None
    low = max(row.first_result_id, row.next_result_id - STEP)
    # Also of results that are not current any more: the answers of their studies may have changed since.
    studies = session.scalars(
        select(Image.study_id)
        .distinct()
        .join(Result, Result.image_id == Image.id)
        .where(Result.id >= low, Result.id < row.next_result_id, Result.model_id == row.model_id)
        .order_by(Image.study_id)
    ).all()
    watermarks = inboxes.watermarks(session)
    for study_id in studies:
        recompute(session, study_id, watermarks)
    row.next_result_id = low if low > row.first_result_id else None
    return low - row.first_result_id
