"""The films of studies, each with what its current result says: what a picture of the evidence is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.db.claims import ImageFacts, image_facts
from worker.db.models import label_of
from worker.db.schema import Image, Model, Result, Study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """A current image and its current result; all of the latter are None where there is none yet."""

    image: ImageFacts
    #: `name-version` of the model that gave the result.
    model: str | None
    weights_sha256: str | None
    #: Of pneumonia; None also where the film was refused.
    probability: float | None


def judged_images(session: Session, study_uids: Sequence[str]) -> list[JudgedImage]:
    """The current images of these studies, the one that decides the answer first, then those without a result."""
    rows = session.execute(
        select(Image, Study.study_uid, Result.probability, Model)
        .join(Study, Study.id == Image.study_id)
        .outerjoin(Result, (Result.image_id == Image.id) & Result.is_current)
        .outerjoin(Model, Model.id == Result.model_id)
        .where(Image.is_current, Study.study_uid.in_(study_uids))
        .order_by(Image.id)
    )
    found = [_judged(*row) for row in rows]
    return sorted(found, key=lambda item: (item.probability is None, item.model is not None, -(item.probability or 0)))


def _judged(image: Image, study_uid: str, probability: float | None, model: Model | None) -> JudgedImage:
    return JudgedImage(
        image_facts(image, study_uid),
        label_of(model) if model is not None else None,
        model.weights_sha256 if model is not None else None,
        probability,
    )
