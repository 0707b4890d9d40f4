"""Bad settings, missing parts and a full disk: one clear line and an exit code, and never a traceback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from model.serving.bundle import builtin_folder
from tests.support.running import Running, command
from tests.support.sites import LOCAL, answers_echo, make_study, new_site, picture, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.peers import Peers
    from tests.support.running import Site

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.acceptance

FAILED, USAGE = 1, 2
FILE_LIMIT = 1_000_000
LIMITED = (
    "import os, resource, sys; limit = int(sys.argv[1]);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)); os.execv(sys.argv[2], sys.argv[2:])"
)


@pytest.fixture
def site() -> Iterator[Site]:
    with new_site() as made:
        yield made


@pytest.fixture(scope="module")
def migrated() -> Iterator[Site]:
    with new_site() as made:
        made.run("migrate")
        yield made


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *wanted: str) -> None:
    """The command ended with this exit code and one line to stderr that has these words, and said nothing else."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("auscult: ")
    for words in wanted:
        assert words in lines[0]
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AUSCULT_PORT", "eleven", "setting port"),
        ("AUSCULT_QUIET_S", "-1", "setting quiet_s"),
        ("AUSCULT_HOST", "0.0.0.0", "AUSCULT_ALLOWED_AETS"),
        ("AUSCULT_PROT", "11112", "unknown setting AUSCULT_PROT"),
        ("AUSCULT_DATABASE_URL", "mysql://user:geheim@host/name", "PostgreSQL or SQLite"),
    ],
)
def test_a_bad_or_unknown_setting_is_named(site: Site, name: str, value: str, words: str) -> None:
    site.env[name] = value
    done = site.run("worklist", check=None)
    assert_one_line(done, USAGE, words)
    assert "geheim" not in done.stderr


def test_an_unreadable_settings_file_is_named(site: Site) -> None:
    site.home.mkdir(parents=True)
    (site.home / "auscult.toml").write_text("port = = 1", encoding="utf-8")
    assert_one_line(site.run("worklist", check=None), USAGE, "auscult.toml", "TOML")


@pytest.mark.parametrize("verb", ["listen", "work", "up"])
def test_a_missing_bundle_is_named(site: Site, verb: str) -> None:
    site.env["AUSCULT_MODEL"] = "nowhere-9"
    assert_one_line(site.run(verb, check=None), USAGE, "nowhere-9")


@pytest.mark.parametrize("verb", ["listen", "up"])
def test_a_bundle_that_was_tampered_with_is_refused(site: Site, verb: str) -> None:
    bundle = site.home / "models" / "notebook-1"
    site.env["AUSCULT_MODEL"] = "notebook-1"
    shutil.copytree(builtin_folder() / "notebook-1", bundle)
    weights = bytearray((bundle / "model.tflite").read_bytes())
    weights[len(weights) // 2] ^= 1
    (bundle / "model.tflite").write_bytes(weights)
    assert_one_line(site.run(verb, check=None), USAGE, "model.tflite")


@pytest.mark.parametrize("verb", ["migrate", "up"])
def test_a_database_of_a_newer_release_is_left_alone(site: Site, verb: str) -> None:
    site.run("migrate")
    _set_revision(site, "9999_from_the_future")
    assert_one_line(site.run(verb, check=None), USAGE, "upgrade Auscult")
    assert site.query("SELECT version_num FROM alembic_version") == [{"version_num": "9999_from_the_future"}]


def _set_revision(site: Site, revision: str) -> None:
    import sqlite3

    with closing(sqlite3.connect(site.home / "auscult.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()


@pytest.mark.parametrize("verb", ["worklist", "listen", "work"])
def test_a_postgresql_without_our_schema_says_how_to_make_it(site: Site, postgres_url: str, verb: str) -> None:
    site.env["AUSCULT_DATABASE_URL"] = postgres_url
    assert_one_line(site.run(verb, check=None), USAGE, "auscult migrate")


def test_a_postgresql_that_is_away_is_named_without_its_password(site: Site) -> None:
    with closing(socket.create_server((LOCAL, 0))) as taken:
        port = taken.getsockname()[1]
    site.env["AUSCULT_DATABASE_URL"] = f"postgresql://auscult:geheim@{LOCAL}:{port}/auscult"
    done = site.run("worklist", check=None)
    assert_one_line(done, FAILED, "does not answer")
    assert "geheim" not in done.stderr


@pytest.mark.parametrize("verb", ["listen", "up"])
def test_a_busy_port_is_named(site: Site, verb: str) -> None:
    with closing(socket.create_server((LOCAL, 0))) as taken:
        port = taken.getsockname()[1]
        done = site.run(verb, "--port", str(port), check=None)
    said = [line for line in done.stderr.splitlines() if line.startswith("auscult: ")]
    assert done.returncode == USAGE
    assert len(said) == 1, done.stderr
    assert f"port {port} is in use" in said[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("inside", [False, True])
def test_a_data_folder_that_cannot_be_one_is_named(site: Site, inside: bool) -> None:
    site.home.write_text("no folder", encoding="utf-8")
    if inside:
        site.home /= "deeper"
    done = site.run("worklist", check=None)
    assert_one_line(done, USAGE, f"the data folder {site.home} cannot be made", "AUSCULT_HOME")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("demo --once --films {folder}", "no film in {folder}"),
        ("ingest {folder}", "no film in {folder}"),
        ("classify {folder}", "no film in {folder}"),
        ("demo --once --films {folder}/none", "no such file or folder"),
        ("ingest {folder}/none", "no such file or folder"),
        ("classify {folder}/none", "no such file or folder"),
        ("show 1.2.3.4.5", "no study matches 1.2.3.4.5"),
        ("assess 1.2.3.4.5", "no study matches 1.2.3.4.5"),
        ("retry 1.2.3.4.5 --why again", "no study matches 1.2.3.4.5"),
        ("rerun", "--study"),
        ("rerun --state HAPPY", "HAPPY"),
        ("rerun --all --model nowhere-9", "nowhere-9"),
        ("worklist --label MAYBE", "MAYBE"),
        ("worklist --after 50", "RANK/STUDY_UID/SIDE"),
        ("batch show 99", "no batch 99"),
    ],
)
def test_an_impossible_wish_is_answered_with_what_is_possible(
    migrated: Site, tmp_path: Path, wish: str, words: str
) -> None:
    assert_one_line(
        migrated.run(*wish.format(folder=tmp_path).split(), check=None), USAGE, words.format(folder=tmp_path)
    )


def test_a_full_disk_is_answered_out_of_resources_and_keeps_nothing(
    migrated: Site, dcmtk: Peers, tmp_path: Path
) -> None:
    large = make_study(tmp_path)
    _enlarge(large.files[0])
    small = make_study(tmp_path)
    log = tmp_path / "listen.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", LIMITED, str(FILE_LIMIT), *command("listen")],
            env=migrated.environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    listener = Running(migrated, process, log)
    try:
        arguments = ("-d", "-R", "-aec", "AUSCULT", LOCAL, listener.port)
        refused = dcmtk.run("storescu", *arguments, large.files[0])
        spool = migrated.home / "spool"
        left = [path for name in ("new", "tmp") for path in (spool / name).iterdir()]
        assert "0xa700" in refused.stdout + refused.stderr
        assert left == []
        assert answers_echo(dcmtk, listener.port)
        push(dcmtk, listener.port, small.files)
        wait_until(lambda: small.uid in migrated.worklist(), 30, "the small film to be registered")
        at_the_door = "SELECT reason, study_uid FROM refused WHERE source = 'door'"
        wait_until(lambda: migrated.query(at_the_door), 30, "the refusal to be recorded")
        (row,) = migrated.query(at_the_door)
        assert row == {"reason": "OUT_OF_RESOURCES", "study_uid": large.uid}
    finally:
        listener.stop()
    assert "Traceback" not in listener.text()


def _enlarge(path: Path) -> None:
    from pydicom import dcmread

    ds = dcmread(path)
    pixels = picture(1, 1024, 1024)
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelData = pixels.tobytes()
    ds.save_as(path)
    assert path.stat().st_size > 2 * FILE_LIMIT
