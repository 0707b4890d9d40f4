"""``auscult classify``: judge files on the spot, without database or broker, by the very functions a worker uses.

The work happens in a process of its own (`worker.confined`), so a file that hangs or eats memory costs itself alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicom_io.reasons import Outcome, Reason
from worker.confined import Confined, Unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.confined import Job
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Answer:
    """What Auscult says about one file."""

    path: str
    outcome: Outcome
    reason: Reason | None
    flags: tuple[Reason, ...] = ()
    label: str | None = None
    probability: float | None = None
    logit: float | None = None
    threshold: float | None = None
    band: str | None = None
    unlikeness: float | None = None
    film_sha256: str | None = None
    film_version: int | None = None
    model: str = ""
    version: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Answer:
        """The answer that ``as_dict`` was made of."""
        reason, flags = values["reason"], values["flags"]
        coded = {"reason": Reason(reason) if reason else None, "flags": tuple(Reason(flag) for flag in flags)}
        return cls(**{**values, **coded, "outcome": Outcome(values["outcome"])})


def classify(settings: Settings, paths: Sequence[Path], model: str | None = None) -> Iterator[Answer]:
    """Answer for each path in turn; a file that cannot be read, or takes too long, gets its answer too."""
    with Confined(lambda: _files(settings, model), settings.task_limit_s) as confined:
        named = confined.start()
        for path in paths:
            try:
                yield Answer.from_dict(confined.ask(str(path)))
            except Unanswered as error:
                yield Answer(str(path), Outcome.FAILED, error.reason, **named)


@contextmanager
def _files(settings: Settings, model: str | None) -> Iterator[Job]:
    """Paths in, answers out; says which model judges."""
    # Here, in the process that judges: the command itself needs neither decoders nor networks.
    from worker.judge_file import FileJudge

    judge = FileJudge(settings, model)
    yield judge.named, lambda path: judge.answer(Path(path)).as_dict()
