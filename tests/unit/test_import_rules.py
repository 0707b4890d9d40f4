from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # Beside the tree and not in it: the developer's cache must not answer for a scratch tree.
    command = [str(BIN / "lint-imports"), "--no-cache", "--config", "pyproject.toml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_import_contracts_are_kept():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_a_tree_that_breaks_no_rule_passes(tmp_path):
    assert lint_imports(scratch_tree(tmp_path, "dicom_io/seeded.py", "import numpy")).returncode == 0


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        pytest.param("dicom_io/seeded.py", "import model.leaf", id="dicom_io-model"),
        pytest.param("model/seeded.py", "import dicom_io.leaf", id="model-dicom_io"),
        pytest.param("dicom_io/seeded.py", "import worker.leaf", id="dicom_io-worker"),
        pytest.param("model/seeded.py", "import worker.leaf", id="model-worker"),
        pytest.param("dicom_io/seeded.py", "import sqlalchemy", id="dicom_io-sqlalchemy"),
        pytest.param("dicom_io/seeded.py", "from celery import Celery", id="dicom_io-celery"),
        pytest.param("model/seeded.py", "import redis.client", id="model-redis"),
        pytest.param("model/seeded.py", "def send():\n    import kombu", id="model-kombu-in-a-function"),
        pytest.param("worker/seeded.py", "def load():\n    import tensorflow", id="worker-tensorflow"),
        pytest.param("dicom_io/seeded.py", "import keras", id="dicom_io-keras"),
        pytest.param("worker/seeded.py", "def send():\n    from celery import Celery", id="worker-celery"),
    ],
)
def test_a_forbidden_import_is_reported(tmp_path, place, statement):
    done = lint_imports(scratch_tree(tmp_path, place, statement))
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
    assert place.removesuffix(".py").replace("/", ".") in done.stdout


def scratch_tree(folder: Path, place: str, statement: str) -> Path:
    """Lay out three empty packages under the real contracts, and one module that says `statement`."""
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for package in ("worker", "dicom_io", "model"):
        (folder / package).mkdir()
        for name in ("__init__", "leaf"):
            (folder / package / f"{name}.py").touch()
    for name in ("app", "tasks"):
        (folder / "worker" / f"{name}.py").write_text("import celery\n")
    (folder / place).write_text(statement + "\n")
    return folder


@pytest.mark.parametrize(
    ("place", "text", "rule"),
    [
        pytest.param("model/seeded.py", "import tensorflow\n\nX = tensorflow\n", "TID253", id="tensorflow-at-import"),
        pytest.param("worker/seeded.py", "import os\n\nX = os.environ\n", "TID251", id="environment"),
        pytest.param("dicom_io/seeded.py", "import os\n\nX = os.getenv('X')\n", "TID251", id="getenv"),
    ],
)
def test_a_forbidden_use_is_reported_by_the_linter(place, text, rule):
    command = [str(BIN / "ruff"), "check", "--select", rule, "--output-format", "json", "--stdin-filename", place, "-"]
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
    assert [finding["code"] for finding in json.loads(done.stdout)] == [rule]


def modules_of(*packages: str) -> list[str]:
    """Name the modules that lie in the packages' folders, main programs left out."""
    files = (file for package in packages for file in (ROOT / package).rglob("*.py"))
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files}
    return sorted(name for name in names if not name.endswith("__main__"))


def loaded_after(modules: list[str]) -> set[str]:
    """Import the modules in a fresh interpreter; return the top-level packages it then holds."""
    program = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    program += "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    command = [sys.executable, "-c", program, *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_no_module_outside_network_and_train_loads_tensorflow_when_imported():
    names = [name for name in modules_of("dicom_io", "model") if name not in ("model.network", "model.train")]
    assert not loaded_after(names) & {"tensorflow", "keras", "sqlalchemy", "celery", "redis", "kombu"}


def test_the_worker_and_its_command_line_load_no_tensorflow_when_imported():
    assert not loaded_after(modules_of("worker")) & {"tensorflow", "keras"}
