"""TLS and passwords to the broker and the database: real servers behind TLS, checked certificates, refused impostors."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
import sqlalchemy as sa

from tests.support.certificates import Site
from tests.support.postgres import own_postgres
from tests.support.redis_server import RedisServer, own_redis
from tests.support.tls_front import after_request, tls_front
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate
from worker.errors import DatabaseUnavailable
from worker.queue.hints import BrokerAway, HintPublisher
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicom_io.network.tls import TlsFiles
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.integration

PASSWORD = "s3cret"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server_files(hospital: Site) -> TlsFiles:
    return hospital.files("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """The authority of somebody else."""
    return Site(tmp_path_factory.mktemp("stranger")).files("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def broker(server_files: TlsFiles) -> Iterator[int]:
    """The port of a Redis-compatible server with a password, behind TLS."""
    with own_redis(tcp=True) as server:
        _with_password(server)
        with tls_front(server_files, lambda: socket.create_connection(("127.0.0.1", server.port))) as port:
            yield port


def _with_password(server: RedisServer) -> None:
    with redis.Redis.from_url(server.client_url) as client:
        client.config_set("requirepass", PASSWORD)


def sends(url: str) -> None:
    """Send one hint, as the dispatcher does."""
    publisher = HintPublisher(load_settings(broker_url=url).broker)
    try:
        publisher.publish()
    finally:
        publisher.close()


def test_hints_go_over_tls_with_a_password(broker: int, server_files: TlsFiles) -> None:
    sends(f"rediss://:{PASSWORD}@127.0.0.1:{broker}/0?ssl_ca_certs={server_files.authorities}")


@pytest.mark.parametrize("what", ["password", "authority", "plain"])
def test_a_broker_that_is_not_the_one_meant_is_away(
    broker: int, server_files: TlsFiles, stranger: TlsFiles, what: str
) -> None:
    scheme = "redis" if what == "plain" else "rediss"
    password = "wrong" if what == "password" else PASSWORD
    authorities = stranger.authorities if what == "authority" else server_files.authorities
    options = "" if what == "plain" else f"?ssl_ca_certs={authorities}"
    with pytest.raises(BrokerAway):
        sends(f"{scheme}://:{password}@127.0.0.1:{broker}/0{options}")


@pytest.fixture(scope="module")
def database(server_files: TlsFiles) -> Iterator[sa.URL]:
    """The URL of a PostgreSQL that wants a password from the network, behind TLS."""
    with (
        own_postgres(tcp=True) as server,
        _account(server) as url,
        tls_front(server_files, lambda: socket.create_connection(("127.0.0.1", server.port)), after_request) as port,
    ):
        yield url.set(port=port)


@contextmanager
def _account(server: PostgresServer) -> Iterator[sa.URL]:
    url = sa.make_url(server.create_database())
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE auscult_tls LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        (server.data / "pg_hba.conf").write_text("host all auscult_tls all scram-sha-256\nhost all all all trust\n")
        connection.execute("SELECT pg_reload_conf()")
    yield url.set(username="auscult_tls", password=PASSWORD)


def answers(url: sa.URL, **options: str) -> int:
    """What the database answers to a query by an engine of ours."""
    engine = make_engine(url.update_query_dict(options))
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.text("SELECT 42")).scalar_one())
    finally:
        engine.dispose()


def test_the_database_is_asked_over_tls_with_its_certificate_checked(database: sa.URL, server_files: TlsFiles) -> None:
    verified = {"sslmode": "verify-full", "sslrootcert": str(server_files.authorities)}
    assert answers(database, **verified) == 42
    engine = make_engine(database.update_query_dict(verified))
    assert migrate(engine).before is None
    engine.dispose()


@pytest.mark.parametrize("what", ["password", "authority", "name"])
def test_a_database_that_is_not_the_one_meant_is_away_and_no_secret_is_told(
    database: sa.URL, server_files: TlsFiles, stranger: TlsFiles, what: str
) -> None:
    url = database.set(password="wr0ng") if what == "password" else database
    url = url.set(host="127.0.0.2") if what == "name" else url
    authorities = stranger.authorities if what == "authority" else server_files.authorities
    with pytest.raises(DatabaseUnavailable) as caught:
        answers(url, sslmode="verify-full", sslrootcert=str(authorities))
    assert not [word for word in (PASSWORD, "wr0ng", "auscult_tls") if word in str(caught.value)]
