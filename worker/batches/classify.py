"""``auscult classify``: judge files, without database or broker, by the same functions that a worker uses.

The work happens in a process of its own (`worker.judging.confined`), so a file that hangs or eats memory costs itself alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicom_io.reasons import Outcome, Reason
from worker.judging.confined import Confined, Unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.judging.confined import Job
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """The answer for one file: the fields of the JSON document."""

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
    def from_dict(cls, values: dict[str, Any]) -> FileAnswer:
        """The answer with these plain values; those that are missing keep their defaults."""
        reason, flags = values["reason"], values["flags"]
        coded = {"reason": Reason(reason) if reason else None, "flags": tuple(Reason(flag) for flag in flags)}
        return cls(**{**values, **coded, "outcome": Outcome(values["outcome"])})


def classify(settings: Settings, paths: Sequence[Path], model: str | None = None) -> Iterator[FileAnswer]:
    """Answer for each path in turn, also for a file that cannot be read or takes too long."""
    with Confined(lambda: _files(settings, model), settings.task_limit_s) as confined:
        named = confined.start()
        for path in paths:
            try:
                yield FileAnswer.from_dict(confined.ask(str(path)))
            except Unanswered as error:
                yield FileAnswer(str(path), Outcome.FAILED, error.reason, **named)


@contextmanager
def _files(settings: Settings, model: str | None) -> Iterator[Job]:
    """Takes paths, gives answers; says which model judges."""
    # Imported here, in the process that judges: the command itself starts faster without decoders and networks.
    from worker.judging.judge_file import FileJudge

    judge = FileJudge(settings, model)
    yield judge.named, lambda path: judge.answer(Path(path))
