"""The tables of retention: purges, files that a purge is to remove, and objects that storage commitment was given for.

`schema.study` names these too: import from there.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from worker.db.schema.states import HeldFile, PurgeEnd, PurgeKind
from worker.db.schema.types import Base, EnumText, UtcDateTime, one_of


class Purge(Base):
    """One purge, or the erasure of one person: who ordered it, by which rules, and what it removed."""

    __tablename__ = "purge"
    __table_args__ = (
        one_of("kind", PurgeKind, "kind"),
        one_of("ended_how", PurgeEnd, "ended_how"),
        CheckConstraint("running = 1", name="running"),
        CheckConstraint("(running IS NULL) = (finished_at IS NOT NULL)", name="finished_or_running"),
        CheckConstraint("(finished_at IS NULL) = (ended_how IS NULL)", name="finished_has_how"),
        {"comment": "one purge, or the erasure of one person: who ordered it, by which rules, what it removed"},
    )

    kind: Mapped[PurgeKind] = mapped_column(EnumText(PurgeKind, 16), comment="PIXELS, RECORDS or PERSON")
    who: Mapped[str] = mapped_column(String(128), comment="who ordered it, or the listener's schedule")
    why: Mapped[str] = mapped_column(Text, comment="why")
    rules: Mapped[str] = mapped_column(Text, comment="JSON: the rules by which it chose")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it began")
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when it ended; NULL while it runs")
    ended_how: Mapped[PurgeEnd | None] = mapped_column(EnumText(PurgeEnd, 16), comment="DONE or STOPPED")
    running: Mapped[int | None] = mapped_column(
        Integer, unique=True, comment="1 while it runs, then NULL: one purge at a time"
    )
    lease_until_ms: Mapped[int] = mapped_column(
        BigInteger, comment="it counts as dead from then on (database clock), unless it renews this"
    )
    n_studies: Mapped[int] = mapped_column(Integer, server_default="0", comment="studies it took something from")
    n_originals: Mapped[int] = mapped_column(Integer, server_default="0", comment="originals it removed")
    n_films: Mapped[int] = mapped_column(Integer, server_default="0", comment="films it removed")
    n_records: Mapped[int] = mapped_column(Integer, server_default="0", comment="studies whose rows it deleted")
    freed_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0", comment="bytes of the files it removed")


class Removal(Base):
    """A file that a purge is to remove: made with the mark of its image, deleted once the file is gone."""

    __tablename__ = "removal"
    __table_args__ = (
        UniqueConstraint("key", "kind"),
        one_of("kind", HeldFile, "kind"),
        {"comment": "a file that a purge is to remove; the row is deleted once the file is gone"},
    )

    purge_id: Mapped[int] = mapped_column(ForeignKey("purge.id"), comment="the purge")
    kind: Mapped[HeldFile] = mapped_column(EnumText(HeldFile, 16), comment="ORIGINAL or FILM")
    key: Mapped[str] = mapped_column(String(64), comment="its name in the store, or among the films")


class Commitment(Base):
    """That storage commitment was given for one version of an object: its original stays until then."""

    __tablename__ = "commitment"
    __table_args__ = (
        UniqueConstraint("image_id", "transaction_uid"),
        Index("ix_commitment_until", "until"),
        {"comment": "storage commitment given for an object: its original stays until then"},
    )

    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), comment="the version of the object")
    requester: Mapped[str] = mapped_column(String(64), comment="AE title that asked for it")
    transaction_uid: Mapped[str] = mapped_column(String(64), comment="Transaction UID (0008,1195) of its request")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was given")
    until: Mapped[datetime] = mapped_column(UtcDateTime, comment="until when the original is kept")
