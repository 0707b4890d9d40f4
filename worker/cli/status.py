"""The verb ``status``: is every promise kept? It is quick, as each process records its own findings in SQL."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.addresses import describe
from worker.cli.common.output import AsCsv, AsJson, complain, opened_once, print_answer, print_table
from worker.database import Database, connect, open_database, prepare_database
from worker.db.answers import listeners
from worker.db.answers.listeners import InboxRow
from worker.db.answers.silence import LIVE, SILENT
from worker.db.read import figures, probes
from worker.db.read.probes import Finding, Probe, ReportedFinding
from worker.db.schema.states import Level
from worker.errors import DatabaseUnavailable, SettingsError
from worker.health import checks
from worker.intake.folders import count_given_up, count_objects, count_waiting
from worker.promptly import NoAnswer, ask_all
from worker.queue.asking import check_broker
from worker.settings import Settings, port_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicom_io.client.connect import ConnectionStep

#: How long `status` waits for the database, the broker and the listener, all at once. Each answers in milliseconds; a busy
#: machine may need longer, which is not a failure. Shorter than the limits of the drivers, and of monitors that run this (10 s).
ANSWER_S = 4.0
_SILENCE = f"has not answered within {ANSWER_S:.0f} seconds"
EXIT_CODES = {Level.OK: 0, Level.WARN: 1, Level.FAIL: 3}
COLUMNS = {"level": "Level", "probe": "Probe", "source": "Where", "sentence": "What"}
HERE = "status"
_NO_LISTENER = "No listener is running: start `auscult up` or `auscult listen`."


def status(
    only_failing: Annotated[
        bool, typer.Option("--only-failing", help="Exit code 0 for warnings too, for a container's health check.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Check whether every promise is kept. Exit code 0: all well, 1: a warning, 3: failing.

    Each process checks itself every ten seconds; the database, the broker and this machine's listener are asked now.
    """
    settings = opened_once()
    report, found = _findings(settings)
    level = checks.worst(item.level for item in found)
    rows = [asdict(item) | {"at": item.at} for item in found]
    document = {
        "level": level,
        **report,
        "problems": [item.sentence for item in found if item.level is not Level.OK],
        "probes": rows,
        "notice": NOTICE,
    }
    print_answer(document, rows, partial(_show, document, rows), as_json=as_json, as_csv=as_csv)
    if level is Level.FAIL or (level is Level.WARN and not only_failing):
        raise typer.Exit(EXIT_CODES[level])


def _show(document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    wrong = [row for row in rows if row["level"] is not Level.OK]
    if wrong:
        print_table(wrong, COLUMNS)
    names = ("live_workers", "live_pending", "batch_pending", "open_studies", "failed_studies")
    counts = ", ".join(f"{name.replace('_', ' ')} {document[name]}" for name in names if name in document)
    complain(f"{document['level']}: {len(rows)} probes, {len(wrong)} not OK. {counts}")


def _findings(settings: Settings) -> tuple[dict[str, Any], list[ReportedFinding]]:
    # The embedded database is a file, which the first command makes: it answers at once.
    database = open_database(settings) if settings.is_embedded else connect(settings)
    in_sql = partial(_in_sql, settings, database)
    questions: dict[str, Callable[[], Any]] = {
        "broker": lambda: checks.broker(
            lambda: check_broker(settings.broker, ANSWER_S), is_embedded=not settings.broker_url
        ),
        "port": partial(_own_port, settings),
    }
    if not settings.is_embedded:
        questions["database"] = in_sql
    answers = ask_all(questions, ANSWER_S)
    told = in_sql() if settings.is_embedded else answers["database"]
    if isinstance(told, Exception) and not isinstance(told, DatabaseUnavailable | NoAnswer):
        raise told
    name = describe(database.engine.url)
    report: dict[str, Any] = {
        "database": name,
        "commitments_waiting": count_waiting(settings),
        "commitments_given_up": count_given_up(settings),
        "quarantined": count_objects(settings),
    }
    findings = [
        checks.disk(Probe.HOME_DISK, settings.home),
        checks.given_up(report["commitments_given_up"]),
        checks.quarantine(report["quarantined"]),
    ]
    findings += [_answered(answers, "broker", Probe.BROKER, f"The broker {_SILENCE}.")]
    others: list[ReportedFinding] = []
    if isinstance(told, Exception):
        sentence = str(told) if isinstance(told, DatabaseUnavailable) else f"{name} {_SILENCE}"
        findings.append(Finding(Probe.DATABASE, Level.FAIL, None, sentence))
        report["database"] = "away"
    else:
        counts, listeners, work, others, database_found = told
        report |= counts
        findings += [
            database_found,
            *checks.of_work(work),
            *_listeners(listeners),
            *_without_findings(listeners, others),
        ]
    if answers["port"] is not None and _has_listener_here(told):
        findings.append(_answered(answers, "port", Probe.LISTENER_PORT, f"The listener of this machine {_SILENCE}."))
    report["broker"] = "answers" if all(f.level is Level.OK for f in findings if f.probe is Probe.BROKER) else "away"
    own = [ReportedFinding(HERE, each.probe, each.level, each.value, each.sentence) for each in findings]
    return report, own + others


def _has_listener_here(told: Any) -> bool:
    """Whether the port of the data folder is on this machine: containers may share the folder and nothing else."""
    if isinstance(told, Exception):
        return False
    return any(row.state == LIVE and row.host == socket.gethostname() for row in told[1])


def _answered(answers: dict[str, Any], name: str, probe: Probe, silence: str) -> Finding:
    answer = answers[name]
    if isinstance(answer, Finding):
        return answer
    if isinstance(answer, NoAnswer):
        return Finding(probe, Level.FAIL, None, silence)
    raise answer


def _in_sql(
    settings: Settings, database: Database
) -> tuple[dict[str, Any], list[InboxRow], figures.Work, list[ReportedFinding], Finding]:
    prepare_database(settings, database)
    within_ms = settings.silent_after_ms
    with database.reads() as session:
        work = figures.work(session, within_ms)
        counts = {**probes.queue_health(session), "live_workers": work.live_workers}
        found = checks.database(is_writable=probes.is_writable(session))
        return counts, listeners.listeners(session), work, probes.fresh(session), found


def _listeners(rows: list[InboxRow]) -> list[Finding]:
    """Return FAIL for a listener that is silent or whose process on this machine has ended, WARN where none runs."""
    here = socket.gethostname()
    found = []
    for row in rows:
        is_gone = row.state == LIVE and row.host == here and not _is_running(row.pid)
        if row.state == SILENT or is_gone:
            sentence = (
                f"Listener {row.listener} on {row.host} is silent and may hold films: start it, or `auscult listener "
                f"retire {row.listener}`."
            )
            found.append(Finding(Probe.LISTENER, Level.FAIL, row.waiting, sentence))
        elif row.state == LIVE:
            found.append(Finding(Probe.LISTENER, Level.OK, row.waiting))
    return found or [Finding(Probe.LISTENER, Level.WARN, None, _NO_LISTENER)]


def _without_findings(rows: list[InboxRow], others: list[ReportedFinding]) -> list[Finding]:
    """Return FAIL for a listener that runs, but has recorded no findings for too long."""
    recorded = {found.source for found in others}
    now = datetime.now(UTC)
    return [
        Finding(
            Probe.MONITOR,
            Level.FAIL,
            row.listener,
            f"Listener {row.listener} on {row.host} runs, but records no findings: its log says why.",
        )
        for row in rows
        if row.state == LIVE
        and (now - row.started_at) > probes.STALE_AFTER
        and f"listener {row.host}:{row.pid}" not in recorded
    ]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _own_port(settings: Settings) -> Finding | None:
    """Send a C-ECHO to the listener of this data folder; None without a listener, or where its lists may refuse us."""
    try:
        port = int(port_file(settings).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    if settings.allowed_hosts:
        return None
    # Only a listener here needs these modules.
    from dicom_io.client.connect import CannotConnect, ConnectionStage, StepTimer, open_link
    from dicom_io.client.peer import Peer
    from dicom_io.client.verify import verifies
    from dicom_io.network.tls import TlsInvalid, client_context

    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104 - compared, not bound
    title = settings.allowed_aets[0] if settings.allowed_aets else settings.ae_title
    done: list[ConnectionStep] = []
    try:
        tls = client_context(settings.tls) if settings.tls else None
        link = open_link(
            Peer(settings.ae_title, host, port, is_tls=tls is not None), tls, ANSWER_S, StepTimer(done.append)
        )
        with link.socket as connection:
            if verifies(connection, settings.ae_title, title):
                return Finding(Probe.LISTENER_PORT)
    except TlsInvalid as error:
        raise SettingsError(str(error)) from error
    except CannotConnect:
        pass
    if ConnectionStage.CONNECTED in {step.stage for step in done}:
        sentence = (
            f"The listener at {host} port {port} accepts connections, but did not answer C-ECHO: does this shell have its "
            "settings (TLS, AE titles)?"
        )
        return Finding(Probe.LISTENER_PORT, Level.WARN, port, sentence)
    sentence = f"The listener at {host} port {port} does not answer C-ECHO: restart it."
    return Finding(Probe.LISTENER_PORT, Level.FAIL, port, sentence)
