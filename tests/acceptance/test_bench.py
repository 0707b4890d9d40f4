"""The benchmarks against other systems run in their short form, and say what their long form says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.peers.films import KINDS
from benchmarks.peers.orthanc import PACKAGE
from benchmarks.start.tables import TARGETS
from tests.support.documents import ROOT
from tests.support.peers import provided

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]


def bench(*arguments: object) -> str:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_peers_compares_all_systems_on_all_films(tmp_path):
    provided(("Orthanc", "storescp"), ("orthanc", "dcmtk", PACKAGE))
    said = bench("peers", "--quick", "--out", tmp_path)
    assert "### What each guarantees" in said
    report = json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))
    seen = {(line["system"], line["kind"]) for line in report["lines"]}
    everywhere = {
        (system, kind["key"]) for kind in report["kinds"] for system in ("auscult", "obvious", "tuned-1", "tuned-2")
    }
    assert everywhere <= seen
    assert all(min(line["wall_s"]) > 0 and len(line["wall_s"]) == 1 for line in report["lines"])
    # All do the same work, but for the one that decodes at a lower resolution.
    assert max(report["score_differences"]["tuned-2"].values()) < 0.01
    assert (tmp_path / "peers.png").stat().st_size > 1000


def test_memory_names_every_process(tmp_path):
    said = bench("memory", "--quick", "--out", tmp_path)
    assert "| **all processes** |" in said
    (found,) = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))["workers"]["2"]
    assert {role: len(values) for role, values in found.items()} == {
        "supervisor": 1,
        "fork server": 1,
        "listen": 1,
        "work": 1,
        "child": 2,
        "broker": 1,
    }
    assert (tmp_path / "memory.png").stat().st_size > 1000


def test_start_runs_every_command_that_has_a_target(tmp_path):
    said = bench("start", "--quick", "--out", tmp_path)
    assert all(f"| `{command}` |" in said for command in TARGETS)
    assert (tmp_path / "start.png").stat().st_size > 1000


def test_rerun_compares_both_passes_of_every_kind_of_film(tmp_path):
    said = bench("rerun", "--quick", "--out", tmp_path)
    assert "| ratio |" in said
    found = json.loads((tmp_path / "rerun.json").read_text(encoding="utf-8"))["found"]
    assert set(found) == {kind.key for kind in KINDS}
    assert all(min(values) > 0 for figures in found.values() for values in figures.values())
    assert (tmp_path / "rerun.png").stat().st_size > 1000


def test_ingest_compares_receivers_of_the_same_objects(tmp_path):
    provided(("storescp",), ("dcmtk",))
    said = bench("ingest", "--quick", "--out", tmp_path)
    assert "**CPU milliseconds an object**" in said
    report = json.loads((tmp_path / "ingest.json").read_text(encoding="utf-8"))
    assert {line["receiver"] for line in report["lines"]} == {"storescp", "auscult", "auscult-unhashed", "pynetdicom"}
    assert all(len(line["objects_per_s"]) == 1 and min(line["objects_per_s"]) > 0 for line in report["lines"])
    assert (tmp_path / "ingest.png").stat().st_size > 1000
