"""What a site asks of a network, and the decision whether the network reaches it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Decision(StrEnum):
    """Whether the lower bounds reach the targets that the site stated."""

    ACCEPTED = "ACCEPTED"
    NOT_ACCEPTED = "NOT ACCEPTED"


@dataclass(frozen=True, slots=True)
class Targets:
    """The lowest sensitivity and specificity that a site accepts, in (0, 1); None where none is stated."""

    sensitivity: float | None = None
    specificity: float | None = None

    def stated(self) -> dict[str, float]:
        """Those that are stated."""
        return {name: value for name, value in asdict(self).items() if value is not None}
