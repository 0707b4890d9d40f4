"""Variables of other programs: none of them tells a library beneath Auscult what to do."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from worker.environment import forget_foreign, name_forgotten
from worker.processes.app import make_app
from worker.settings import child_environment, load_settings

#: Read by libraries and left to the site: how a terminal shows text, and libpq's proofs of identity.
LEFT_ALONE = re.compile(
    r"FORCE_COLOR|NO_COLOR|TERM\w*|COLUMNS|ITERM_PROFILE|_?TYPER_\w+|CELERY_RDB_\w+|SL_\w+|SLMQ_\w+|LD_LIBRARY_PATH|PATH"
    r"|PUBSUB_\w+|NUMBER_OF_PROCESSORS"
)
LIBRARIES = ("celery", "kombu", "billiard", "amqp", "vine", "redis", "psycopg", "pydicom", "pynetdicom", "structlog")
READS = re.compile(r"""(?:environ\.get\(|environ\[|getenv\()\s*['"](\w+)['"]""")
PROOFS = {"PGPASSWORD", "PGPASSFILE", "PGREQUIREPEER", "PGREQUIREAUTH", "PGCHANNELBINDING", "PGKRBSRVNAME"}


def is_forgotten(name: str, monkeypatch: pytest.MonkeyPatch, value: str = "x") -> bool:
    monkeypatch.setenv(name, value)
    forget_foreign()
    return name not in os.environ


@pytest.fixture(autouse=True)
def _nothing_forgotten_yet() -> None:
    name_forgotten()


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_variable_that_a_library_reads_is_taken_away_first(library, monkeypatch):
    root = Path(psycopg.__file__).parents[1] / library
    files = [path for path in root.rglob("*.py") if not {"contrib", "tests"} & set(path.parts)]
    names = {name for path in files for name in READS.findall(path.read_text("utf-8"))} - {"HOME", "TZ"}
    assert files
    assert [
        name for name in sorted(names) if not LEFT_ALONE.fullmatch(name) and not is_forgotten(name, monkeypatch)
    ] == []


def test_libpq_is_told_by_variables_how_to_prove_itself_and_nothing_else(monkeypatch):
    names = {option.envvar.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar}
    kept = {name for name in names if not is_forgotten(name, monkeypatch)}
    security = re.compile(r"PG(SSL|GSS|MIN|MAX)\w+")
    assert kept == {name for name in names if name in PROOFS or security.fullmatch(name)}
    for name in (
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGDATABASE",
        "PGUSER",
        "PGSERVICE",
        "PGOPTIONS",
        "PGCLIENTENCODING",
    ):
        assert name not in kept


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_celery_uses_our_broker_whatever_stands_in_the_environment(name, monkeypatch, tmp_path):
    settings = load_settings(home=tmp_path, broker_url="redis://ours:1/0")
    monkeypatch.setenv(name, "redis://theirs:2/0")
    app = make_app(settings)
    for connection in (app.connection(), app.connection_for_read(), app.connection_for_write()):
        assert (connection.hostname, connection.port) == ("ours", 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUSCULT_PORT", "tcp://10.96.3.4:11112"),
        ("AUSCULT_PORT", "udp://10.96.3.4:11112"),
        ("AUSCULT_SERVICE_HOST", "10.96.3.4"),
        ("AUSCULT_SERVICE_PORT", "11112"),
        ("AUSCULT_SERVICE_PORT_DICOM", "11112"),
        ("AUSCULT_PORT_11112_TCP", "tcp://10.96.3.4:11112"),
        ("AUSCULT_PORT_11112_TCP_PROTO", "tcp"),
        ("AUSCULT_PORT_11112_TCP_PORT", "11112"),
        ("AUSCULT_PORT_11112_TCP_ADDR", "10.96.3.4"),
        ("AUSCULT_LISTEN_2_SERVICE_HOST", "10.96.3.4"),
        ("AUSCULT_LISTEN_2_PORT", "tcp://[fd00::1]:11112"),
        ("AUSCULT_LISTEN_2_PORT_53_UDP", "udp://10.96.3.4:53"),
    ],
)
def test_a_service_link_of_kubernetes_is_no_setting_and_named_once(name, value, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(name, value)
    settings = load_settings(home=tmp_path)
    assert settings.port == 11112
    assert name not in child_environment(settings)
    with caplog.at_level(logging.WARNING):
        name_forgotten()
        name_forgotten()
    assert [record.getMessage().count(name) for record in caplog.records] == [1]
    assert value not in caplog.text.replace(name, "")


def test_variables_that_libraries_read_when_they_are_imported_are_gone_by_then(tmp_path):
    env = {**os.environ, "AUSCULT_HOME": str(tmp_path), "PSYCOPG_IMPL": "nonesuch", "PYDICOM_FUTURE": "1"}
    check = "import worker.cli, pydicom.config, sys; sys.exit(pydicom.config._use_future)"
    done = subprocess.run([sys.executable, "-c", check], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
