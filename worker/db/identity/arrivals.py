"""A received object before it has rows: what it is, who sent it and when; as it is handed over, and in a transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dicom_io.header.digests import BLAKE3
from worker.db.identity.rejections import RejectionPolicy
from worker.db.identity.rules import NO_PIXELS, Patient
from worker.db.schema.sql import fitted
from worker.db.schema.study import Receipt, Study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from dicom_io.header.facts import Facts
    from dicom_io.header.rejection import RejectionDocument
    from worker.db.identity.aliases import Aliases
    from worker.db.identity.rules import Version

SHA256: Final = re.compile("[0-9a-f]{64}")
#: No source is listed.
NO_REJECTIONS = RejectionPolicy()


@dataclass(frozen=True, slots=True)
class Received:
    """One object to be registered: what it is, who sent it and when, and how its study waits."""

    facts: Facts
    sha256: str
    #: The name of its original in the store.
    store_key: str
    quiet_ms: int
    max_wait_ms: int
    #: As `Digests.pixels`.
    pixel_sha256: str = ""
    #: Reads the SHA-256 of its pixels, by which objects from before schema 0024 are on record.
    read_pixel_sha256: Callable[[], str] | None = None
    #: As `Digests.film_header`.
    film_header_sha256: str = ""
    #: Its sender; None: the AE title in its file meta information.
    source: str | None = None
    #: When it was received; None: now.
    received_at: datetime | None = None
    #: When it was acknowledged, in ms of the database's clock; None: now. Its quiet time begins there.
    arrived_ms: int | None = None
    priority: int = 0
    #: Whether its study waits for `release_studies`, at most its longest wait, and not for a quiet time.
    is_held: bool = False
    #: What it rejects, if it is a rejection note.
    rejection: RejectionDocument | None = None
    #: What the site does about rejection notes.
    policy: RejectionPolicy = NO_REJECTIONS

    def arrival(self, aliases: Aliases, clock_ms: int, moment: datetime) -> Arrival:
        """The object in a transaction that has read the database's clock, in ms and as a moment."""
        facts = self.facts
        named = fitted(Study, {"patient_id": facts.patient_id, "issuer_of_patient_id": facts.issuer_of_patient_id})
        return Arrival(
            facts=facts,
            aliases=aliases,
            named=Patient.of(named["patient_id"], named["issuer_of_patient_id"]),
            sha256=self.sha256,
            pixel_sha256=self.pixel_sha256,
            read_pixel_sha256=self.read_pixel_sha256,
            film_header_sha256=self.film_header_sha256,
            store_key=self.store_key,
            source=fitted(Receipt, {"source": facts.calling_aet if self.source is None else self.source})["source"],
            quiet_ms=self.quiet_ms,
            max_wait_ms=self.max_wait_ms,
            priority=self.priority,
            is_held=self.is_held,
            clock_ms=clock_ms,
            arrived_ms=clock_ms if self.arrived_ms is None else min(self.arrived_ms, clock_ms),
            at=self.received_at or moment,
        )


@dataclass(frozen=True, slots=True)
class Arrival:
    """One object as one source sent it; times in ms are those of the database's clock."""

    facts: Facts
    #: Who the patients that objects name are by now.
    aliases: Aliases
    #: The patient that its header names, within the lengths of the columns.
    named: Patient
    sha256: str
    pixel_sha256: str
    read_pixel_sha256: Callable[[], str] | None
    film_header_sha256: str
    store_key: str
    source: str
    quiet_ms: int
    max_wait_ms: int
    priority: int
    #: Whether its source will say when it has sent all.
    is_held: bool
    clock_ms: int
    arrived_ms: int
    at: datetime

    @property
    def ready_at_ms(self) -> int:
        """When a study counts as complete if this is its last object, in ms."""
        longest = self.clock_ms + self.max_wait_ms
        return longest if self.is_held else min(self.arrived_ms + self.quiet_ms, longest)

    @property
    def patient(self) -> Patient:
        """Who the patient that its header names is by now: merges are followed."""
        return self.aliases.of(self.named)

    @property
    def is_own_result(self) -> bool:
        """Whether Auscult made the object of a result, and it came back."""
        return self.facts.is_own_result

    def within(self, rows: Sequence[Study]) -> Arrival:
        """A result of our own, as an object of the patient of one of these rows, or unchanged where it names one of them.

        It repeats what a film said of its patient when it was made, which is no evidence of who the patient is.
        """
        if not rows or any(self.patient.is_same(Patient.of(row.patient_id, row.issuer_of_patient_id)) for row in rows):
            return self
        first = min(rows, key=lambda row: row.side)
        patient_id, issuer = first.patient_id, first.issuer_of_patient_id
        facts = replace(self.facts, patient_id=patient_id, issuer_of_patient_id=issuer)
        return replace(self, facts=facts, named=Patient.of(patient_id, issuer))

    def beside(self, versions: Sequence[Version]) -> Arrival:
        """The object with a digest of its pixels that can be compared with those of the versions on record.

        Where one of them is a SHA-256, which this object's is not, its own is read, and kept for those that follow.
        """
        if self.read_pixel_sha256 is None or not self.pixel_sha256.startswith(BLAKE3):
            return self
        others = [version.pixels for version in versions if version.sha256 != self.sha256]
        if self.pixels in others or not any(SHA256.fullmatch(pixels) for pixels in others):
            return self
        return replace(self, pixel_sha256=self.read_pixel_sha256())

    @property
    def pixels(self) -> str:
        """The digest of its pixels as `rules` compares it."""
        return pixels_of(self.pixel_sha256, has_pixel_data=self.facts.has_pixel_data)


def pixels_of(pixel_sha256: str, *, has_pixel_data: bool) -> str:
    """The digest, `NO_PIXELS` for an object without pixel data, "" where the digest is not known."""
    return pixel_sha256 if has_pixel_data else NO_PIXELS
