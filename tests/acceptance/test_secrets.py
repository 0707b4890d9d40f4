"""Passwords of database and broker stay where the site put them: not in `ps`, not in a log, not in what a command prints."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest
import redis
from sqlalchemy import make_url

from tests.support.postgres import own_postgres
from tests.support.redis_server import own_redis
from tests.support.running import role
from tests.support.sites import new_site
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.running import Running, Site

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

DATABASE_PASSWORD, BROKER_PASSWORD = "db-s3cret-9Q", "br-s3cret-7Z"


def told(text: str) -> bool:
    return DATABASE_PASSWORD in text or BROKER_PASSWORD in text


def command_lines(running: Running) -> list[str]:
    """What `ps` shows of the command and of everything below it, and of the threads' names."""
    found = []
    for process in (psutil.Process(running.process.pid), *running.descendants()):
        try:
            found.append(" ".join((*process.cmdline(), process.name())))
        except psutil.NoSuchProcess:
            continue
    return found


def has_workers(site: Site) -> bool:
    return len(site.query("SELECT id FROM worker")) > 0


@pytest.mark.timeout(300)
def test_no_password_is_in_a_command_line_a_log_or_an_answer() -> None:
    with own_postgres(tcp=True) as postgres, own_redis(tcp=True) as broker, new_site(log="debug") as site:
        with redis.Redis.from_url(broker.client_url) as client:
            client.config_set("requirepass", BROKER_PASSWORD)
        site.home.mkdir(mode=0o700)
        secret = site.home / "broker_url"
        secret.write_text(f"redis://:{BROKER_PASSWORD}@127.0.0.1:{broker.port}/0\n", encoding="utf-8")
        url = make_url(postgres.create_database()).set(password=DATABASE_PASSWORD)
        site.env |= {
            "AUSCULT_DATABASE_URL": url.render_as_string(hide_password=False),
            "AUSCULT_BROKER_URL_FILE": str(secret),
        }
        said = [site.run("migrate")]
        with site.running("up") as running:
            assert running.port
            wait_until(lambda: has_workers(site), 90, "a worker in SQL")
            shown = command_lines(running)
            environments = [process.environ() for process in running.descendants() if role(process) != "broker"]
            said.append(site.run("status", "--json", check=None))
            # What went wrong is logged with its frames, by every process.
            postgres.kill()
            broker.kill()
            wait_until(lambda: "waits, its turn failed" in running.text(), 60, "a loop to miss the database")
            said += [site.run(*verb, check=None) for verb in (("status", "--json"), ("rerun", "--all"))]
            running.stop()
            log = running.text()
    assert len(shown) > 2, "the command, its listener and its worker at the least"
    assert not [line for line in shown if told(line)]
    assert environments
    assert not [each for each in environments if BROKER_PASSWORD in str(each)], "what stands in a file is read there"
    assert '"level": "debug"' in log
    assert not [line for line in log.splitlines() if told(line)]
    assert not [done.args for done in said if told(done.stdout + done.stderr)]


def test_a_wrong_secret_file_ends_a_command_with_a_sentence_that_does_not_quote_it() -> None:
    with new_site() as site:
        site.home.mkdir(mode=0o700)
        secret = site.home / "database_url"
        secret.write_text(f"no-url {DATABASE_PASSWORD}", encoding="utf-8")
        site.env |= {"AUSCULT_DATABASE_URL_FILE": str(secret), "AUSCULT_LOG": "debug"}
        done = site.run("worklist", check=None)
    assert done.returncode == 2
    assert not told(done.stdout + done.stderr)
    assert os.fspath(secret) in done.stderr or "database_url" in done.stderr.lower()
