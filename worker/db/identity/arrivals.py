"""A received object before it has rows: what it is, who sent it and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.db.identity.rules import NO_PIXELS, Patient
from worker.db.schema.sql import fitted
from worker.db.schema.study import Study

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dicom_io.header.facts import Facts
    from worker.db.identity.aliases import Aliases


@dataclass(frozen=True, slots=True)
class Arrival:
    """One object as one source sent it; times in ms are those of the database's clock."""

    facts: Facts
    #: Who the patients that objects name are by now.
    aliases: Aliases
    sha256: str
    #: As `Digests.pixels`.
    pixel_sha256: str
    #: As `Digests.film_header`.
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
    def named(self) -> Patient:
        """The patient that its header names, within the lengths of the columns."""
        facts = self.facts
        texts = {"patient_id": facts.patient_id, "issuer_of_patient_id": facts.issuer_of_patient_id}
        kept = fitted(Study, texts)
        return Patient.of(kept["patient_id"], kept["issuer_of_patient_id"])

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
        issuer = first.issuer_of_patient_id
        return replace(self, facts=replace(self.facts, patient_id=first.patient_id, issuer_of_patient_id=issuer))

    @property
    def pixels(self) -> str:
        """The digest of its pixels as `rules` compares it."""
        return pixels_of(self.pixel_sha256, has_pixel_data=self.facts.has_pixel_data)


def pixels_of(pixel_sha256: str, *, has_pixel_data: bool) -> str:
    """The digest, `NO_PIXELS` for an object without pixel data, "" where the digest is not known."""
    return pixel_sha256 if has_pixel_data else NO_PIXELS
