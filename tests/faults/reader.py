"""A reader of the worklist that polls throughout: a NORMAL beside an acknowledged positive is a finding, however brief."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.faults.films import Sent, Study

POLL_S = 0.04
_NORMAL = text(
    "SELECT study_uid, side, finished_at FROM worklist WHERE label = 'NORMAL' AND study_uid IN :uids"
).bindparams(bindparam("uids", expanding=True))


class Reader:
    """Polls the worklist for the studies that it watches."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, pool_size=1, pool_pre_ping=True, connect_args=_patience(url))
        self._studies: dict[str, Study] = {}
        self._seen: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: What it found: one sentence for each study.
        self.findings: dict[str, str] = {}
        #: The longest time in seconds for which a NORMAL stood after a later film of its study was acknowledged.
        self.longest_late_s = 0.0
        self.polls = 0

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._engine.dispose()

    def watch(self, studies: Sequence[Study]) -> None:
        """Watch these studies and no others: those of the rounds before are compared at the end once more."""
        self._studies = {study.uid: study for study in studies if any(each.film.is_positive for each in study.objects)}
        self._seen = {}

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            watched = self._studies
            if not watched:
                continue
            asked = time.monotonic()
            try:
                with self._engine.connect() as connection:
                    rows = connection.execute(_NORMAL, {"uids": sorted(watched)}).mappings().all()
            except SQLAlchemyError:
                continue  # the database is away
            self.polls += 1
            for row in rows:
                self._judge(watched[row["study_uid"]], dict(row), asked)

    def _judge(self, study: Study, row: Mapping[str, Any], asked: float) -> None:
        first = self._seen.setdefault(study.uid, asked)
        for each in study.objects:
            acked = each.acked_at
            if not each.film.is_positive or acked is None or acked >= asked:
                continue
            if _was_final_before(each, row["finished_at"]) or first <= acked:
                # A film that came when its study was final: nobody can know of it before it came.
                self.longest_late_s = max(self.longest_late_s, asked - acked)
                continue
            self.findings.setdefault(
                study.uid,
                f"NORMAL {asked - acked:.3f} s after the acknowledgement of a positive film, finished at "
                f"{row['finished_at']}, acknowledged at {datetime.fromtimestamp(each.acked_wall or 0, UTC)}",
            )


def _was_final_before(each: Sent, finished_at: Any) -> bool:
    """Whether the answer was written before the film was acknowledged, on the database's clock."""
    moment = datetime.fromisoformat(finished_at) if isinstance(finished_at, str) else finished_at
    if moment is None or each.acked_wall is None:
        return False
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return bool(moment.timestamp() <= each.acked_wall)


def _patience(url: str) -> dict[str, Any]:
    return {"timeout": 5} if url.startswith("sqlite") else {"connect_timeout": 5}
