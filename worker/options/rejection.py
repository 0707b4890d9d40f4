"""The settings of withdrawal: who may send rejection notes (IHE RAD IOCM), and what they do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from worker.addresses import listed_sources
from worker.environment import parts_of


class RejectionOptions(BaseSettings):
    """Settings of withdrawal, part of `worker.settings.Settings`."""

    rejection_sources: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="who may withdraw films by rejection notes (IHE IOCM), comma separated: AET@NETWORK, or "
        "AET@NETWORK+sha256:HEX for the one TLS certificate with this SHA-256; empty: nobody",
    )
    rejected_for_quality: Literal["keep-pneumonia", "withdraw", "ignore"] = Field(
        default="keep-pneumonia",
        description="what a rejection for quality (113001) does: the film does not count, but its PNEUMONIA stays until "
        "a later film is judged; it does not count; nothing",
    )
    rejected_again: Literal["reject", "ignore", "restore"] = Field(
        default="reject",
        description="what becomes of a withdrawn film that is sent again: recorded as refused, passed over, counts again",
    )
    rejection_window_days: float = Field(
        default=7.0, ge=0, le=3650, description="how long a rejection note waits for films that have not come yet"
    )

    @field_validator("rejection_sources", mode="before")
    @classmethod
    def _split_sources(cls, value: Any) -> Any:
        return parts_of(value) if isinstance(value, str) else value

    @field_validator("rejection_sources")
    @classmethod
    def _sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        listed_sources(value)
        return value

    @property
    def names_certificates(self) -> bool:
        """Whether a source is bound to its TLS certificate."""
        return any(source.certificate for source in listed_sources(self.rejection_sources))
