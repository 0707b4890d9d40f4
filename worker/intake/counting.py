"""Ask the source of a study how many objects it has (C-FIND).

Only sources among the peers of the settings can be asked. The answer changes no state, since a PACS may have objects that
its rules do not forward. The worklist shows it as `completeness`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from dicom_io.client.association import association
from dicom_io.client.query import StudyKeys, find_context, find_studies
from dicom_io.errors import DicomIoError
from worker.addresses import named_peers
from worker.db.filing import holdings
from worker.db.schema.engine import reading
from worker.loops import Loop
from worker.peers import caller_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.client.peer import Peer
    from worker.db.filing.holdings import Uncounted
    from worker.settings import Settings

logger = logging.getLogger(__name__)

TICK_S = 5.0
TAKE = 100
ANSWER_S = 10.0
#: Seconds until a source that did not answer is asked again.
REST_S = 300.0


class Counter(Loop):
    """Asks the sources of finished studies for Number of Study Related Instances (0020,1208), each study once."""

    name = "counter"

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        super().__init__(TICK_S)
        self._settings = settings
        self._sessions = sessions
        self._reads = reading(sessions)
        self._peers = {peer.aet: peer for peer in reversed(named_peers(settings.peers).values())}
        self._asked: set[tuple[int, int]] = set()
        self._rests: dict[str, float] = {}

    def turn(self) -> bool:
        """Ask each source about its finished studies that were not asked about yet, over one association."""
        now = time.monotonic()
        sources = [aet for aet in self._peers if self._rests.get(aet, now) <= now]
        if not sources:
            return False
        with self._reads() as session:
            found = holdings.uncounted(session, sources, TAKE + len(self._asked))
        named = {(study.study_id, study.revision) for study in found}
        # A source that does not know a study is not asked about it again; a study that finished an hour ago is forgotten.
        self._asked &= named
        new = [study for study in found if (study.study_id, study.revision) not in self._asked][:TAKE]
        for source in sorted({study.source for study in new}):
            self._ask(self._peers[source], [study for study in new if study.source == source])
        return False

    def _ask(self, peer: Peer, studies: Sequence[Uncounted]) -> None:
        caller = replace(caller_of(self._settings), timeout_s=ANSWER_S, answer_s=ANSWER_S)
        try:
            with association(peer, [find_context()], caller) as opened:
                for study in studies:
                    answers = find_studies(opened, StudyKeys(study_uid=study.study_uid)).studies
                    self._note(study, next((each.n_images for each in answers), None))
        except DicomIoError as error:
            self._rests[peer.aet] = time.monotonic() + REST_S
            logger.warning(
                "a source does not say how many images its studies have; they count as complete as they came",
                extra={"action": "count", "peer": str(peer), "cause": type(error).__name__},
            )

    def _note(self, study: Uncounted, count: int | None) -> None:
        self._asked.add((study.study_id, study.revision))
        if count:
            with self._sessions.begin() as session:
                holdings.note_expected(session, study.study_uid, count, study.revision)
