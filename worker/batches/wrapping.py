"""Pictures as DICOM objects for `auscult ingest --wrap`, made in a process of their own."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_io.errors import FilmError
from dicom_io.reasons import Reason
from worker.judging.confined import Confined, Unanswered
from worker.judging.memory import within_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from dicom_io.inbox.spool import Spool
    from worker.judging.confined import Job
    from worker.settings import Settings


class Wrapper:
    """Makes DICOM objects of pictures in a process of its own, so that a picture that kills it does not end the ingest."""

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self._confined = Confined(lambda: _pictures(spool, settings.film_memory_mb), settings.task_limit_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._confined.close()

    def wrap(self, picture: Path) -> str | Reason:
        """The key of the picture in the spool as a DICOM object, or the reason why it cannot be one."""
        try:
            answer = self._confined.ask(str(picture))
        except Unanswered as error:
            return error.reason
        return Reason(answer["reason"]) if answer["reason"] else str(answer["key"])


@contextmanager
def _pictures(spool: Spool, memory_mb: int) -> Iterator[Job]:
    """Takes paths of pictures, answers with their keys in the spool."""
    # Imported here, in the process that decodes: the command itself starts faster without decoders.
    from dicom_io.create.wrap import wrapped_file

    def wrap(path: str) -> dict[str, str | None]:
        try:
            content = within_memory(memory_mb, lambda: wrapped_file(Path(path)))
        except FilmError as error:
            return {"key": None, "reason": error.reason}
        except OSError:
            return {"key": None, "reason": Reason.UNREADABLE}
        return {"key": spool.put([content]), "reason": None}

    yield None, wrap
