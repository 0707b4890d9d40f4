"""The setting of the gate: what a site decides about its rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from worker.environment import parts_of

if TYPE_CHECKING:
    from dicom_io.gate.judge import Policies


class GateOptions(BaseSettings):
    """The setting of the gate, part of `worker.settings.Settings`."""

    gate_policy: str = Field(
        default="",
        description="policies of the rules of the gate, comma separated: REASON=refuse, flag or accept",
    )

    @field_validator("gate_policy", mode="before")
    @classmethod
    def _policies(cls, value: Any) -> Any:
        if isinstance(value, dict):
            value = ",".join(f"{code}={word}" for code, word in value.items())
        elif isinstance(value, str):
            value = ",".join(parts_of(value))
        if isinstance(value, str) and value:
            _read(value)
        return value

    @property
    def policies(self) -> Policies:
        """The site's decisions about the rules of the gate."""
        return _read(self.gate_policy)


def _read(text: str) -> Policies:
    from dicom_io.gate.judge import Policies  # the rules with their vocabulary, which few commands ask

    return Policies.parse(text)
