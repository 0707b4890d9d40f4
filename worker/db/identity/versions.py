"""The versions of an object: those on record of a SOP Instance UID, who sent which, and a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, select, update

from worker.db.identity.arrivals import pixels_of
from worker.db.identity.rules import Patient, Transmission, Version
from worker.db.schema.sql import fitted, table_of
from worker.db.schema.study import Image, Receipt, Study
from worker.db.schema.types import CLOCK_SLACK_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.db.identity.aliases import Aliases
    from worker.db.identity.arrivals import Arrival

#: Columns of an image that are facts of its header under the same name.
GATE_COLUMNS = (
    "sop_class_uid",
    "transfer_syntax_uid",
    "modality",
    "body_part",
    "view_position",
    "age_months",
    "rows",
    "columns",
    "presentation_intent",
    "number_of_frames",
    "has_pixel_data",
    "species",
    "derivation",
    "is_test_object",
    "burned_in_annotation",
    "polarity_in_doubt",
)
_DEVICE_COLUMNS = ("manufacturer", "device_model", "station_name", "institution")
_IMAGE_COLUMNS = ("series_uid", "sop_uid", "issuer_of_patient_id", "peer", *_DEVICE_COLUMNS, *GATE_COLUMNS)


_COLUMNS = (
    Image.id,
    Image.sha256,
    Image.sop_uid,
    Image.is_current,
    Image.patient_key,
    Image.issuer_of_patient_id.label("issuer"),
    Image.pixel_sha256,
    Image.has_pixel_data,
    Study.id.label("study_id"),
    Study.study_uid,
    Study.patient_id.label("row_patient"),
    Study.issuer_of_patient_id.label("row_issuer"),
)
_VERSIONS = select(*_COLUMNS).join(Study, Study.id == Image.study_id).order_by(Image.id)
# Built once: each registration executes these.
_VERSIONS_OF = _VERSIONS.where(Image.sop_uid == bindparam("sop"))
_ADD_IMAGE = insert(table_of(Image)).returning(table_of(Image).c.id, table_of(Image).c.sop_uid)
_ADD_RECEIPT = insert(table_of(Receipt))


def versions_of(session: Session, aliases: Aliases, sop_uid: str) -> list[Version]:
    """All versions of an object on record, in any study, each of the patient who is meant by now."""
    return [_version(row, aliases) for row in session.execute(_VERSIONS_OF, {"sop": sop_uid}).all()]


def versions_in(session: Session, aliases: Aliases, study_ids: Sequence[int]) -> list[Version]:
    """All versions of all objects in these rows."""
    found = _VERSIONS.where(Image.study_id.in_(study_ids))
    return [_version(row, aliases) for row in session.execute(found).all()]


def _version(row: Any, aliases: Aliases) -> Version:
    # An image from before schema 0005 has none of these columns; its patient is that of its row.
    is_known = row.patient_key or row.pixel_sha256 or not row.has_pixel_data
    patient = Patient(row.patient_key, row.issuer) if is_known else Patient.of(row.row_patient, row.row_issuer)
    pixels = pixels_of(row.pixel_sha256, has_pixel_data=row.has_pixel_data)
    return Version(
        row.id, row.study_id, row.study_uid, aliases.of(patient), pixels, row.sha256, row.is_current, row.sop_uid
    )


def add_version(session: Session, study: Study, arrival: Arrival) -> int:
    """Add a version; whether it counts is decided next. Returns the id of the image."""
    return int(session.execute(_ADD_IMAGE, _values(study, arrival, is_current=False)).one().id)


def add_films(session: Session, films: Sequence[tuple[Study, Arrival]]) -> list[int]:
    """Add the only versions of objects, each other ones, which count; with their receipts. Returns the ids of the images."""
    found = session.execute(_ADD_IMAGE, [_values(study, arrival, is_current=True) for study, arrival in films]).all()
    ids = {row.sop_uid: int(row.id) for row in found}
    image_ids = [ids[arrival.facts.sop_uid] for _, arrival in films]
    receipts = [_receipt(image_id, arrival) for image_id, (_, arrival) in zip(image_ids, films, strict=True)]
    session.execute(_ADD_RECEIPT, receipts)
    return image_ids


def _values(study: Study, arrival: Arrival, *, is_current: bool) -> dict[str, Any]:
    return fitted(Image, {name: getattr(arrival.facts, name) for name in _IMAGE_COLUMNS}) | {
        "study_id": study.id,
        "sha256": arrival.sha256,
        "calling_aet": arrival.source,
        "store_key": arrival.store_key,
        "revision": study.revision,
        "rx_count": 1,
        "is_current": is_current,
        "received_at": arrival.at,
        "patient_key": arrival.named.key,
        "pixel_sha256": arrival.pixel_sha256,
        "film_header_sha256": arrival.film_header_sha256,
    }


def _receipt(image_id: int, arrival: Arrival) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "source": arrival.source,
        "first_at_ms": arrival.arrived_ms,
        "last_at_ms": arrival.arrived_ms,
        "last_key": arrival.store_key,
    }


def record_receipt(session: Session, image_id: int, arrival: Arrival, *, is_new: bool) -> None:
    """Record that a source sent a version; a spool entry that is registered again was received once."""
    source = arrival.source
    if not is_new and session.scalar(select(Image.store_key).where(Image.id == image_id)) == arrival.store_key:
        return
    of_source = select(Receipt).where(Receipt.image_id == image_id, Receipt.source == source)
    receipt = None if is_new else session.scalar(of_source)
    if receipt is None:
        session.execute(_ADD_RECEIPT, _receipt(image_id, arrival))
    elif receipt.last_key != arrival.store_key:
        receipt.first_at_ms = min(receipt.first_at_ms, arrival.arrived_ms)
        if arrival.arrived_ms >= receipt.last_at_ms:
            receipt.last_at_ms, receipt.last_key = arrival.arrived_ms, arrival.store_key
        session.flush()
    else:
        return
    if not is_new:
        _change(session, image_id, rx_count=Image.rx_count + 1)


def shift_receipts_back(session: Session, arrival: Arrival) -> None:
    """Move receipts that lie ahead of the database's clock, which was set back, to before the present arrival."""
    versions = select(Image.id).where(Image.sop_uid == arrival.facts.sop_uid)
    newest = session.scalar(select(func.max(Receipt.last_at_ms)).where(Receipt.image_id.in_(versions)))
    if newest is None or newest <= arrival.clock_ms + CLOCK_SLACK_MS:
        return
    by_ms = newest - arrival.arrived_ms + 1
    session.execute(
        update(Receipt)
        .where(Receipt.image_id.in_(versions))
        .values(first_at_ms=Receipt.first_at_ms - by_ms, last_at_ms=Receipt.last_at_ms - by_ms)
        .execution_options(synchronize_session=False)
    )


def transmissions_of(session: Session, image_ids: list[int]) -> list[Transmission]:
    """The transmissions of these versions."""
    rows = session.execute(
        select(Image.sha256, Receipt.source, Receipt.first_at_ms, Receipt.last_at_ms)
        .join(Receipt, Receipt.image_id == Image.id)
        .where(Image.id.in_(image_ids))
    ).all()
    return [Transmission(*row) for row in rows]


def move_film(session: Session, image_ids: list[int], study_id: int) -> None:
    """Move these versions of a film, none of them current, to another row."""
    _change(session, *image_ids, study_id=study_id)


def _change(session: Session, *image_ids: int, **values: Any) -> None:
    session.execute(
        update(Image).where(Image.id.in_(image_ids)).values(**values).execution_options(synchronize_session=False)
    )
