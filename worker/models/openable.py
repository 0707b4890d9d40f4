"""Ask live workers whether they can open a bundle.

The question is a folder beside the shared bundles, and each worker answers in it with its next heartbeat. SQL says which
workers are alive. A worker that does not share the folder never sees the question, so no answer counts as well.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import BundleError
from worker.db.tasks.workers import live_names
from worker.models.active import bundle_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.database import Database
    from worker.settings import Settings

QUESTIONS = ".asked"
#: Time for an answer, in heartbeats: one until the question is seen, the others for a busy machine.
PATIENCE_BEATS = 3
POLL_S = 0.1
#: A question this old was left behind by a command that was killed.
FORGOTTEN_S = 3600.0


def answer_questions(settings: Settings, worker: str) -> None:
    """Say of each bundle that is asked about whether this worker can open it; raises OSError."""
    for question in _questions(settings):
        reply = question / _reply_name(worker)
        if reply.exists():
            continue
        try:
            bundle_of(settings, question.name.rpartition(".")[0])
            sentence = ""
        except BundleError as error:
            sentence = str(error)
        draft = reply.with_suffix(".part")
        # The command that asked may have gone meanwhile.
        with suppress(FileNotFoundError):
            draft.write_text(sentence, encoding="utf-8")
            draft.replace(reply)


def ask_workers(settings: Settings, database: Database, label: str) -> dict[str, str | None]:
    """The live workers that did not open the bundle, by name, with the reason; None where a worker did not answer."""
    with database.reads() as session:
        workers = live_names(session, settings.silent_after_ms)
    if not workers:
        return {}
    try:
        folder = _made_room(settings)
        with tempfile.TemporaryDirectory(prefix=f"{label}.", dir=folder, ignore_cleanup_errors=True) as question:
            return _replies(Path(question), workers, settings.heartbeat_s * PATIENCE_BEATS)
    except OSError:
        # The question cannot be written, so no worker can answer it.
        return dict.fromkeys(sorted(workers))


def _made_room(settings: Settings) -> Path:
    """The folder of questions, without those that were left behind."""
    folder = settings.models / QUESTIONS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in _questions(settings):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > FORGOTTEN_S:
                shutil.rmtree(left, ignore_errors=True)
    return folder


def _replies(question: Path, workers: set[str], patience_s: float) -> dict[str, str | None]:
    replies: dict[str, str] = {}
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while True:
        for worker in workers - replies.keys():
            with suppress(FileNotFoundError):
                replies[worker] = (question / _reply_name(worker)).read_text(encoding="utf-8")
        if len(replies) == len(workers) or time.monotonic() > deadline:
            return {worker: replies.get(worker) for worker in sorted(workers) if replies.get(worker) != ""}
        pause.wait(POLL_S)


def _questions(settings: Settings) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from sorted((settings.models / QUESTIONS).iterdir())


def _reply_name(worker: str) -> str:
    """A file name for a worker: its own name has characters that not every shared file system accepts."""
    return hashlib.sha256(worker.encode()).hexdigest()[:32]
