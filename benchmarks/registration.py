"""What it costs to register objects of new studies in SQL: one by one in the general way, alone, and many together.

The ways are timed in turns within one run, so that a busy machine is busy for each. Files are not touched.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import event

from dicom_io.header.facts import Facts
from worker.database import connect, prepare_database
from worker.db.filing.bulk import register_all
from worker.db.filing.registry import register
from worker.db.identity.arrivals import Received
from worker.db.schema.engine import in_transaction
from worker.models.active import ensure_active_model
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.database import Database

ROUNDS = 7
OBJECTS = 60


def objects() -> list[Received]:
    """Films, each of a study of its own."""
    return [_film(f"2.25.{uuid.uuid4().int}") for _ in range(OBJECTS)]


def _film(uid: str) -> Received:
    facts = Facts(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="DX",
        body_part="CHEST",
        view_position="AP",
        age_months=36,
        rows=2500,
        columns=2048,
        study_uid=uid,
        series_uid=f"{uid}.1",
        sop_uid=f"{uid}.2",
        patient_id=uid,
        patient_name="Doe^Jane",
        calling_aet="MODALITY",
        peer="dicom://10.0.0.1",
    )
    return Received(facts, uuid.uuid4().hex * 2, uuid.uuid4().hex, quiet_ms=5000, max_wait_ms=60_000)


def general(database: Database, received: Sequence[Received]) -> None:
    """Each in a transaction of its own, in the way that asks everything about an object."""
    for item in received:
        in_transaction(database.sessions, partial(register, received=item))


def together(count: int, database: Database, received: Sequence[Received]) -> None:
    """So many in a transaction, as the registrar does."""
    for start in range(0, len(received), count):
        some = received[start : start + count]
        in_transaction(database.sessions, partial(register_all, received=some))


WAYS: dict[str, Callable[[Database, Sequence[Received]], None]] = {
    "one by one, the general way": general,
    **{f"{count} in a transaction": partial(together, count) for count in (1, 5, 20)},
}


def compare() -> None:
    """Print the cost of each way for an object, on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(home=Path(folder))
        database = connect(settings)
        prepare_database(settings, database)
        ensure_active_model(settings, database)
        _compare(database)
        database.dispose()


def _compare(database: Database) -> None:
    executed = [0]

    def count(*_: object) -> None:
        executed[0] += 1

    event.listen(database.engine, "before_cursor_execute", count)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS + 1):
        for name, way in WAYS.items():
            received = objects()
            executed[0] = 0
            cpu, wall = time.process_time(), time.perf_counter()
            way(database, received)
            spent = (time.process_time() - cpu, time.perf_counter() - wall)
            found[name].append((spent[0] * 1000 / OBJECTS, spent[1] * 1000 / OBJECTS, executed[0] / OBJECTS))
    sys.stdout.write("| of one object | CPU ms | wall ms | statements |\n| --- | --- | --- | --- |\n")
    for name, rounds in found.items():
        # The first round compiles the statements.
        cpu_ms, wall_ms, statements = (statistics.median(values) for values in zip(*rounds[1:], strict=True))
        sys.stdout.write(f"| {name} | {cpu_ms:.2f} | {wall_ms:.2f} | {statements:.1f} |\n")


if __name__ == "__main__":
    compare()
