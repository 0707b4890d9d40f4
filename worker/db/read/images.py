"""The films of studies with their current results, from which pictures of the evidence are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.db.identity.withdrawals import is_withdrawn
from worker.db.models.bundles import label_of
from worker.db.schema.study import Image, Model, Result, Study
from worker.db.tasks.claims import ImageFacts, image_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """A current image and its current result; the fields of a missing result are None."""

    image: ImageFacts
    #: Which patient of the Study Instance UID.
    side: int
    #: `name-version` of the model that gave the result.
    model: str | None
    weights_sha256: str | None
    #: Of pneumonia, 0 to 1; None also where the film was refused.
    probability: float | None


def judged_images(session: Session, study_uids: Sequence[str]) -> list[JudgedImage]:
    """The current images of these studies: by falling probability, then those without a result, then refused ones.

    Withdrawn films come last.
    """
    rows = session.execute(
        select(Image, Study, Result.probability, Model, is_withdrawn())
        .join(Study, Study.id == Image.study_id)
        .outerjoin(Result, (Result.image_id == Image.id) & Result.is_current)
        .outerjoin(Model, Model.id == Result.model_id)
        .where(Image.is_current, Study.study_uid.in_(study_uids))
        .order_by(Image.id)
    )
    found = [
        (bool(withdrawn), _judged(image, study, probability, model))
        for image, study, probability, model, withdrawn in rows
    ]
    return [item for _, item in sorted(found, key=lambda pair: (pair[0], *_place(pair[1])))]


def _place(item: JudgedImage) -> tuple[bool, bool, float]:
    return item.probability is None, item.model is not None, -(item.probability or 0)


def _judged(image: Image, study: Study, probability: float | None, model: Model | None) -> JudgedImage:
    return JudgedImage(
        image_facts(image, study.study_uid),
        study.side,
        label_of(model) if model is not None else None,
        model.weights_sha256 if model is not None else None,
        probability,
    )
