"""docs/bounds.md names the bounds that the code has, and the settings that change them."""

from __future__ import annotations

from dicom_io.inbox import receipts
from dicom_io.inbox.journal import MAX_JOURNAL_BYTES
from dicom_io.listener import refusals
from dicom_io.listener.options import ListenerOptions
from dicom_io.listener.server import Server
from dicom_io.upper_layer.negotiation import agreement_on
from dicom_io.upper_layer.provider import MAX_REQUEST_BYTES
from dicom_io.upper_layer.transport import BUFFER_BYTES
from tests.support.documents import ROOT
from worker.auditing import forward
from worker.db.batches import opening
from worker.db.schema.engine import make_engine
from worker.intake import commitment, filing, registrar
from worker.judging import lanes, take_size, task_worker
from worker.processes.app import make_app
from worker.processes.broker import BROKER_MEMORY, broker_command
from worker.queue import dispatcher
from worker.settings import Settings

PAGE = (ROOT / "docs" / "bounds.md").read_text(encoding="utf-8")
#: Bounds that no number in the code is.
DISK = ("objects in quarantine", "tasks that wait", "hints in the broker")


def rows() -> dict[str, tuple[str, str]]:
    """The bound and the setting of each row."""
    lines = (line for line in PAGE.splitlines() if line.startswith("| "))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: (bound, setting) for name, bound, _, setting in cells if name != "what" and set(name) != {"-"}}


def of_the_code() -> dict[str, object]:
    options, settings = ListenerOptions(), Settings()
    engine = make_engine("postgresql://nobody@localhost/nothing")
    celery = make_app(settings).conf
    return {
        "connections": Server.max_connections(options),
        "connections of one address": Server.max_connections_of_peer(options),
        "associations": options.max_associations,
        "associations of one address": options.max_per_peer,
        "association request, bytes": MAX_REQUEST_BYTES,
        "PDU, bytes": options.max_pdu,
        "one object, MiB": options.max_object_mb,
        "all objects that are being received, MiB": options.max_memory_mb,
        "receive buffers of one association, bytes": 2 * BUFFER_BYTES,
        "requests whose answer is remembered": agreement_on.cache_info().maxsize,
        "free space of the inbox, MiB": options.min_free_mb,
        "free inodes of the inbox": options.min_free_inodes,
        "objects in the inbox": options.max_waiting_objects,
        "refusals that wait for SQL, bytes": MAX_JOURNAL_BYTES,
        "callers whose refusals are counted apart": refusals._MAX_CALLERS,
        "requests for storage commitment that wait": commitment.MAX_WAITING,
        "digests of received objects that wait for the registrar": receipts.MOST,
        "objects of one turn of the registrar": registrar.TAKE,
        "objects registered in one transaction": filing.AT_ONCE,
        "studies settled in one transaction": dispatcher.SETTLE_LIMIT,
        "studies whose films a re-run takes in one transaction": opening.STEP,
        "films that a worker claims at once": take_size.MOST,
        "time of what a worker claims at once, s": take_size.TAKE_S,
        "how long a judged film waits for one that hangs, s": 2 * take_size.TAKE_S,
        "messages that a worker takes ahead": celery.worker_prefetch_multiplier,
        "memory of the embedded broker": BROKER_MEMORY,
        "memory of one film, MiB": settings.film_memory_mb,
        "time of one film, s": round(settings.task_limit_s),
        "attempts of one film": settings.max_attempts,
        "models that a worker keeps open": task_worker.MOST_OPEN,
        "connections of one process to PostgreSQL": engine.pool.size() + engine.pool._max_overflow,  # type: ignore[attr-defined]
        "compiled statements of one process": engine._compiled_cache.capacity,  # type: ignore[union-attr]
        "events of one message to a syslog receiver": forward.BATCH,
    }


def test_the_page_names_the_bounds_of_the_code():
    assert {name: bound for name, (bound, _) in rows().items() if name not in DISK} == {
        name: str(bound) for name, bound in of_the_code().items()
    }


def test_the_page_names_settings_that_there_are():
    named = {setting for _, setting in rows().values()} - {"none"}
    assert named
    assert named <= {f"AUSCULT_{name.upper()}" for name in Settings.model_fields}


def test_the_broker_is_started_with_its_bound():
    command = broker_command()
    assert command[command.index("--maxmemory") + 1] == BROKER_MEMORY
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_page_says_how_many_films_go_between_those_of_a_re_run():
    assert lanes.LIVE_AT_ONCE == 8
    assert "eight at most" in PAGE
    assert f"{2 * lanes.LIVE_AT_ONCE} + 4 (N + 1)" in PAGE
