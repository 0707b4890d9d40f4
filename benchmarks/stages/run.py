"""``python3 dev.py bench stages``: CPU of each stage of the path of a study, in one process, on the embedded SQLite.

The stages are those of the product, called as listener, registrar, dispatcher and worker call them. What they share with each
other across processes (sockets, messages, waking up) is not here: `bench peers` measures the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import ROOT, commit, machine
from benchmarks.peers.films import KINDS, Films
from benchmarks.stages.tables import tables
from dicom_io.film.film import film_of_dicom
from dicom_io.film.store import FilmStore
from dicom_io.gate.judge import AgeRange, GateInput, RuleStage, judge
from dicom_io.gate.picture_statistics import picture_statistics
from dicom_io.header.file_meta import ObjectUids, Sender
from dicom_io.inbox.receive import Incoming
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.streamed import StreamedObject
from worker.database import connect, prepare_database
from worker.db.answers.results import Judgement
from worker.db.tasks import claims
from worker.db.tasks.claims import Claimant, claim_due
from worker.db.tasks.due import Lane
from worker.db.tasks.queue import settle_studies
from worker.intake.filing import AT_ONCE, Entry, Filing, StudyClock, result_of
from worker.judging.buffers import keep_buffers
from worker.judging.task_worker import Classifiers
from worker.models.active import ensure_active_model
from worker.settings import load_settings
from worker.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.peers.films import Film as SentFilm
    from model.serving.classifier import Classifier
    from worker.database import Database
    from worker.db.tasks.claims import Claim
    from worker.settings import Settings

HERE, QUICK = Path(__file__).resolve().parent, ROOT / "build" / "bench-stages"
#: What each stage is, in the order of the flow.
STAGES = {
    "receive": "write, hash, fsync (the sender's bytes are at hand)",
    "register": "link into the store, read the header, rows, remove the entry",
    "claim": "by SQL",
    "film": "pixel data to the film",
    "gate": "the rules of the gate",
    "network": "film to probability",
    "save": "the film as PNG, fsync",
    "finish": "result, answer of the study",
    "settle": "the answer once the quiet time is over",
}
#: Films that a worker claims at once.
TAKE = 8
SENDER = Sender("BENCH", "AUSCULT", "127.0.0.1")


class Stations:
    """The path of studies through one data folder, with the CPU that each stage took."""

    def __init__(self, settings: Settings, database: Database) -> None:
        keep_buffers()
        self._database = database
        self._spool = Spool(settings.spool)
        # The answer of a study is computed again once its quiet time is over, as for a PACS.
        clock = StudyClock(quiet_ms=1, max_wait_ms=60_000)
        self._filing = Filing(database.sessions, open_store(settings, database), clock)
        self._store = open_store(settings, database)
        self._films = FilmStore(settings.films)
        self._classifiers = Classifiers(settings, database.sessions)
        self._policies = settings.policies
        self._claimant = Claimant("bench", 60_000, 3)
        self.spent: dict[str, float] = {}

    def run(self, films: Sequence[SentFilm]) -> dict[str, float]:
        """CPU ms of each stage for one of these films."""
        self.spent = defaultdict(float)
        keys = [self._receive(film) for film in films]
        for start in range(0, len(keys), AT_ONCE):
            self._register(keys[start : start + AT_ONCE])
        while held := self._claim():
            judged = [(claim, self._judge(claim)) for claim in held]
            with self._stage("finish"):
                claims.finish(self._database.sessions, judged)
        with self._stage("settle"), self._database.sessions.begin() as session:
            settle_studies(session, len(films))
        return {stage: self.spent[stage] * 1000 / len(films) for stage in STAGES}

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.spent[name] += time.process_time() - began

    def _receive(self, film: SentFilm) -> str:
        incoming = Incoming(b"", ObjectUids(film.sop_class, film.sop_uid, film.syntax), film.sop_class)
        data, step = memoryview(film.data), 128 << 10
        with self._stage("receive"):
            streamed = StreamedObject(incoming, SENDER, self._spool, "AUSCULT")
            for start in range(0, len(data), step):
                streamed.write((data[start : start + step],))
            return streamed.finish().key

    def _register(self, keys: Sequence[str]) -> None:
        with self._stage("register"):
            entries = [Entry(self._spool.path(key), key, received=self._spool.receipts.of(key)) for key in keys]
            for key, outcome in zip(keys, self._filing.file_all(entries), strict=True):
                result_of(outcome)
                self._spool.remove(key)

    def _claim(self) -> list[Claim]:
        with self._stage("claim"):
            half = TAKE // 2
            return claim_due(self._database.sessions, Lane.LIVE, self._claimant, urgent=half, oldest=half)

    def _judge(self, claim: Claim) -> Judgement:
        classifier: Classifier = self._classifiers.of(claim.model)
        with self._stage("film"):
            film = film_of_dicom(self._store.path(claim.image.store_key))
        with self._stage("gate"):
            subject = GateInput(
                claim.image.facts, AgeRange(*classifier.bundle.age_years), statistics=picture_statistics(film.pixels)
            )
            for stage in (RuleStage.HEADER, RuleStage.PICTURE):
                judge(subject, stage, self._policies)
        with self._stage("network"):
            score = classifier.score(film.pixels)
        with self._stage("save"):
            self._films.save(film)
        return Judgement(film=film, score=score, unlikeness=score.unlikeness, decode_ms=0.0, inference_ms=0.0)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="dev.py bench stages", description="CPU of each stage of a study.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (default 7)")
    parser.add_argument("--films", type=int, default=16, help="films of a round (default 16)")
    parser.add_argument("--quick", action="store_true", help="two rounds of four films, written to build/bench-stages")
    parser.add_argument("--out", type=Path, help="folder for the JSON")
    told = parser.parse_args(arguments)
    rounds, count = (2, 4) if told.quick else (told.rounds, told.films)
    load = os.getloadavg()[0]
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "load": load,
        "rounds": rounds,
        "films": count,
        "stages": STAGES,
        "cpu_ms": _measured(rounds, count),
    }
    out: Path = told.out or (QUICK if told.quick else HERE)
    out.mkdir(parents=True, exist_ok=True)
    (out / "stages.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(tables(report) + "\n")
    return 0


def _measured(rounds: int, count: int) -> dict[str, dict[str, list[float]]]:
    """CPU ms by kind of film, stage and round; the first round compiles the statements and is not counted."""
    made = {kind.key: Films(kind, count) for kind in KINDS}
    found: dict[str, dict[str, list[float]]] = {key: {stage: [] for stage in STAGES} for key in made}
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(home=Path(folder))
        database = connect(settings)
        prepare_database(settings, database)
        ensure_active_model(settings, database)
        path = Stations(settings, database)
        for turn in range(rounds + 1):
            for key, films in made.items():
                spent = path.run(films.burst(count))
                for stage, value in spent.items() if turn else ():
                    found[key][stage].append(round(value, 3))
        database.dispose()
    return found
