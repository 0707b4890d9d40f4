"""What somebody sees in the first minute: the demo, its worklist, a query that works, and an end that leaves nothing."""

from __future__ import annotations

import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.running import TERMINAL, Site, command
from tests.support.sites import leftover, new_site, open_to_others
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.acceptance

STATES = {
    "DEMO-NORMAL": ("FINAL", None),
    "DEMO-OPACIFIED": ("FINAL", None),
    "DEMO-LATERAL": ("NOT_APPLICABLE", "LATERAL_VIEW"),
    "DEMO-ADULT": ("NOT_APPLICABLE", "AGE_OUT_OF_RANGE"),
    "DEMO-HAND": ("NOT_APPLICABLE", "NOT_CHEST"),
}


#: A database and a store of the site, which a demo must not touch: there is none.
ELSEWHERE = {"database_url": "postgresql://auscult@127.0.0.1:1/site", "broker_url": "redis://127.0.0.1:1/0"}


@pytest.fixture(scope="module")
def production() -> Iterator[Site]:
    with new_site(**ELSEWHERE) as made:
        made.env["AUSCULT_STORE_DIR"] = str(made.home / "shared")
        yield made


@pytest.fixture(scope="module")
def site(production: Site) -> Site:
    """Where the demo writes."""
    return demo_of(production)


@pytest.fixture(scope="module")
def demo(production: Site) -> subprocess.CompletedProcess[str]:
    return production.run("demo", "--once")


def demo_of(site: Site) -> Site:
    return Site(site.home.with_name(site.home.name + "-demo"))


def test_the_demo_writes_into_a_folder_of_its_own_and_says_where(
    production: Site, site: Site, demo: subprocess.CompletedProcess[str]
) -> None:
    assert not production.home.exists()
    assert f"data folder {site.home}\n" in demo.stderr
    assert f"export AUSCULT_HOME={site.home}\n" in demo.stdout
    assert list((site.home / "store").glob("*/*/*.dcm"))


def test_a_demo_refuses_a_folder_with_studies_that_no_demo_put_there(tmp_path: Path) -> None:
    site = Site(tmp_path / "home")
    (tmp_path / "home-demo" / "spool").mkdir(parents=True)
    refused = site.run("demo", "--once", check=2).stderr
    assert "holds studies that are not from a demo" in refused
    assert "--at-site" in refused
    assert [item.name for item in tmp_path.rglob("*")] == ["home-demo", "spool"]


def test_the_demo_prints_each_film_with_its_state_and_reason(demo: subprocess.CompletedProcess[str]) -> None:
    cells = [re.split(r" {2,}", line.strip()) for line in demo.stdout.splitlines() if line.startswith("DEMO-")]
    shown = {row[0]: (row[1], None if row[2].startswith(("NORMAL", "PNEUMONIA")) else row[2]) for row in cells}
    assert shown == STATES
    assert max(map(len, demo.stdout.partition("query:")[0].splitlines())) <= 80


def test_the_demo_gives_a_label_to_the_two_frontal_films_of_a_child_alone(
    site: Site, demo: subprocess.CompletedProcess[str]
) -> None:
    labels = {row["patient_id"]: row["label"] for row in site.worklist().values()}
    assert demo.returncode == 0
    assert {name for name, label in labels.items() if label} == {"DEMO-NORMAL", "DEMO-OPACIFIED"}
    assert set(filter(None, labels.values())) <= {"NORMAL", "PNEUMONIA"}


def test_the_demo_says_that_it_is_not_for_diagnosis(demo: subprocess.CompletedProcess[str]) -> None:
    assert "not for diagnosis" in demo.stdout.lower()


def test_the_demo_says_how_to_send(demo: subprocess.CompletedProcess[str]) -> None:
    assert re.search(r"^send: +storescu -aec AUSCULT 127\.0\.0\.1 \d+ \S+$", demo.stdout, re.MULTILINE)


def test_the_query_that_the_demo_prints_reads_the_worklist(site: Site, demo: subprocess.CompletedProcess[str]) -> None:
    (line,) = (line for line in demo.stdout.splitlines() if line.startswith("query:"))
    program, uri, sql = shlex.split(line.removeprefix("query:"))
    connection = sqlite3.connect(uri, uri=True)
    try:
        rows = connection.execute(sql).fetchall()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM study")
    finally:
        connection.close()
    assert program == "sqlite3"
    assert {row[0] for row in rows} == set(site.worklist())


def test_the_demo_leaves_a_data_folder_for_its_owner_alone(site: Site, demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0
    assert open_to_others(site.home) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_serves_on_ends_with_all_its_processes(how: signal.Signals, tmp_path: Path) -> None:
    with new_site() as site, (tmp_path / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            command("demo"), env=site.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_until(
                lambda: b"serving until Ctrl-C" in (tmp_path / "demo.log").read_bytes(), 90, "the demo to serve on"
            )
            family = psutil.Process(process.pid).children(recursive=True)
            assert len(family) >= 4, "a broker, a listener, a worker and its child"
            process.send_signal(how)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
        wait_until(lambda: not leftover(family), 30, "every process of the demo to be gone")
        assert {row["ai_status"] for row in demo_of(site).worklist().values()} <= set(TERMINAL)


def test_the_listener_s_code_loads_neither_tensorflow_nor_celery() -> None:
    code = "import sys, worker.processes.listen, worker.cli.command; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"worker", "dicom_io", "pynetdicom", "sqlalchemy"} <= set(loaded)
    assert not {"tensorflow", "keras", "celery", "ai_edge_litert", "imagecodecs"} & set(loaded)


def test_the_listener_s_process_maps_neither_tensorflow_nor_a_network_s_engine() -> None:
    with new_site() as site, site.running("listen") as listener:
        assert listener.port
        mapped = Path(f"/proc/{listener.process.pid}/maps").read_text(encoding="utf-8")
    assert "libpython" in mapped or "python3" in mapped
    assert not re.findall(r"/\S*(?:tensorflow|keras|ai_edge_litert|celery)\S*", mapped)
