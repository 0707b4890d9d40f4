"""The tables of delivery: where results go, and one row for each thing that a destination is told about a study.

`schema.study` names these too: import from there.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from worker.db.schema.base import Base, index_of_rows, one_of
from worker.db.schema.states import DeliveryAction, DeliveryState, DestinationKind
from worker.db.schema.types import CodeList, EnumText, UtcDateTime


class Destination(Base):
    """Where results are delivered, and which; nothing is delivered without a row."""

    __tablename__ = "destination"
    __table_args__ = (
        one_of("kind", DestinationKind, "kind"),
        CheckConstraint("kind <> 'C_STORE' OR names_patient", name="objects_name_the_patient"),
        CheckConstraint("kind = 'C_STORE' OR NOT (heat_map OR commitment)", name="objects_go_by_c_store"),
        index_of_rows("uq_destination_in_use", "name", where="ended_at IS NULL", unique=True),
        {"comment": "where results are delivered, and which of them; nothing is delivered without a row"},
    )

    name: Mapped[str] = mapped_column(String(32), comment="what the site calls it")
    kind: Mapped[DestinationKind] = mapped_column(EnumText(DestinationKind, 16), comment="C_STORE or WEBHOOK")
    address: Mapped[str] = mapped_column(
        String(512), comment="a peer of the settings, AET@HOST:PORT, or a URL without secrets"
    )
    findings: Mapped[tuple[str, ...]] = mapped_column(
        CodeList, comment="JSON: findings that it gets, PRESENT, INDETERMINATE, ABSENT; empty: all"
    )
    bands: Mapped[tuple[str, ...]] = mapped_column(CodeList, comment="JSON: bands that it gets; empty: all")
    callers: Mapped[tuple[str, ...]] = mapped_column(
        CodeList, comment="JSON: AE titles whose studies it gets; empty: all"
    )
    heat_map: Mapped[bool] = mapped_column(comment="whether it gets a heat map beside the report")
    commitment: Mapped[bool] = mapped_column(comment="whether it is asked for storage commitment where it offers that")
    names_patient: Mapped[bool] = mapped_column(
        comment="whether it is told who the patient is; DICOM objects always do"
    )
    who: Mapped[str] = mapped_column(String(128), comment="who ordered it")
    why: Mapped[str] = mapped_column(Text, comment="why")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was ordered")
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when it was removed; NULL: it is in use")
    seen_change: Mapped[int] = mapped_column(
        BigInteger, comment="changes of studies up to this number have become deliveries, or were none"
    )
    failures: Mapped[int] = mapped_column(Integer, server_default="0", comment="times in a row it could not be reached")
    not_before_ms: Mapped[int] = mapped_column(
        BigInteger, server_default="0", comment="it is not called before (database clock)"
    )


class Delivery(Base):
    """One thing that one destination is told about one study: the answer of a revision, or that none holds."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("destination_id", "study_id", "number"),
        one_of("action", DeliveryAction, "action"),
        one_of("state", DeliveryState, "state"),
        CheckConstraint(
            "(state = 'CLAIMED') = (lease_owner IS NOT NULL AND lease_until_ms IS NOT NULL)", name="claimed_has_lease"
        ),
        CheckConstraint(
            "(state IN ('PENDING', 'CLAIMED', 'UNCONFIRMED')) = (finished_at IS NULL)", name="ended_has_time"
        ),
        CheckConstraint(
            "state NOT IN ('UNCONFIRMED', 'DELIVERED', 'CONFIRMED') OR delivered_at IS NOT NULL",
            name="delivered_has_time",
        ),
        index_of_rows(
            "ix_delivery_open",
            "destination_id",
            "not_before_ms",
            where="state IN ('PENDING', 'CLAIMED', 'UNCONFIRMED')",
        ),
        index_of_rows("ix_delivery_failed", "destination_id", where="state = 'FAILED'"),
        index_of_rows("uq_delivery_transaction", "transaction_uid", where="transaction_uid IS NOT NULL", unique=True),
        Index("ix_delivery_study_id", "study_id"),
        {"comment": "one thing that one destination is told about one study"},
    )

    destination_id: Mapped[int] = mapped_column(ForeignKey("destination.id"), comment="the destination")
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), comment="the study")
    number: Mapped[int] = mapped_column(Integer, comment="counts what the destination is told about the study, from 1")
    action: Mapped[DeliveryAction] = mapped_column(EnumText(DeliveryAction, 16), comment="REPORT or WITHDRAW")
    says: Mapped[str] = mapped_column(
        String(64), comment="SHA-256 of what of the study's row it says; empty: that nothing holds"
    )
    state: Mapped[DeliveryState] = mapped_column(EnumText(DeliveryState, 16), comment="how far it is")
    reason: Mapped[str | None] = mapped_column(
        String(40), comment="code: why the last attempt failed, or what was not confirmed"
    )
    attempts: Mapped[int] = mapped_column(Integer, server_default="0", comment="times a sender has claimed it")
    not_before_ms: Mapped[int] = mapped_column(BigInteger, comment="not sent before (database clock)")
    give_up_ms: Mapped[int] = mapped_column(BigInteger, comment="not tried again after that (database clock)")
    lease_owner: Mapped[str | None] = mapped_column(String(160), comment="the sender that has it")
    lease_token: Mapped[int] = mapped_column(
        Integer, server_default="0", comment="counts claims: fences old senders off"
    )
    lease_until_ms: Mapped[int | None] = mapped_column(BigInteger, comment="end of the lease (database clock)")
    objects: Mapped[str] = mapped_column(
        Text,
        server_default="[]",
        comment="JSON: objects that the destination may have by it, known before they are sent",
    )
    report_uid: Mapped[str | None] = mapped_column(
        String(64), comment="SOP Instance UID of its report, once one is made"
    )
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"), comment="the model that answered, of a REPORT")
    film_key: Mapped[str | None] = mapped_column(
        String(64), comment="name in the store of the film that decided, whose header the objects repeat"
    )
    transaction_uid: Mapped[str | None] = mapped_column(
        String(64), comment="Transaction UID (0008,1195) of the last request for storage commitment"
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when the answer became known")
    begun_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="when content first left for the destination; NULL: it has none of it"
    )
    delivered_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="when the destination had taken everything"
    )
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when it ended; NULL: it is open")
