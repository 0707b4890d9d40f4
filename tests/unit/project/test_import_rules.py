from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import ROOT

BIN = Path(sys.executable).parent


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # Beside the tree and not in it: the developer's cache must not answer for a scratch tree.
    command = [str(BIN / "lint-imports"), "--no-cache", "--config", "pyproject.toml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_import_contracts_are_kept():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_a_tree_that_breaks_no_rule_passes(tmp_path):
    done = lint_imports(scratch_tree(tmp_path, "dicom_io/header/seeded.py", "import numpy"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        pytest.param("dicom_io/header/seeded.py", "import model.config", id="dicom_io-model"),
        pytest.param("model/data/seeded.py", "import dicom_io.errors", id="model-dicom_io"),
        pytest.param("dicom_io/header/seeded.py", "import worker.errors", id="dicom_io-worker"),
        pytest.param("model/data/seeded.py", "import worker.errors", id="model-worker"),
        pytest.param("dicom_io/header/seeded.py", "import dicom_io.inbox.spool", id="dicom_io-upwards"),
        pytest.param("dicom_io/quiet.py", "import dicom_io.errors", id="dicom_io-module-upwards"),
        pytest.param("dicom_io/film/seeded.py", "import dicom_io.client.peer", id="dicom_io-sideways"),
        pytest.param("dicom_io/seeded.py", "import numpy", id="dicom_io-without-a-room"),
        pytest.param("dicom_io/listener/seeded.py", "import dicom_io.pixels.decode", id="dicom_io-listener-decodes"),
        pytest.param(
            "dicom_io/network/tls.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import dicom_io.listener.options",
            id="dicom_io-upwards-for-a-type",
        ),
        pytest.param("model/data/seeded.py", "def fit():\n    import sklearn.metrics", id="model-scikit-learn"),
        pytest.param("worker/queue/seeded.py", "def page():\n    import jinja2", id="worker-jinja2"),
        pytest.param("model/serving/seeded.py", "def f():\n    import model.training.export", id="model-in-a-function"),
        pytest.param(
            "model/operating/seeded.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from model.serving.bundle import Bundle",
            id="model-upwards-for-a-type",
        ),
        pytest.param("model/seeded.py", "", id="model-without-a-layer"),
        pytest.param("worker/db/tasks/claims.py", "import worker.settings", id="worker.db-settings"),
        pytest.param("worker/settings.py", "def read():\n    import worker.peers", id="worker-upwards-in-a-function"),
        pytest.param(
            "worker/models/active.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import worker.judging.pipeline",
            id="worker-upwards-for-a-type",
        ),
        pytest.param("worker/seeded.py", "", id="worker-without-a-layer"),
        pytest.param("worker/cli/model/verify.py", "import worker.cli.rerun", id="worker.cli-verb-of-another-group"),
        pytest.param("worker/cli/common/output.py", "import worker.cli.show", id="worker.cli-upwards"),
        pytest.param("worker/db/schema/seeded.py", "import worker.db.answers.results", id="worker.db-upwards"),
        pytest.param("dicom_io/header/seeded.py", "import sqlalchemy", id="dicom_io-sqlalchemy"),
        pytest.param("dicom_io/header/seeded.py", "from celery import Celery", id="dicom_io-celery"),
        pytest.param("model/data/seeded.py", "import redis.client", id="model-redis"),
        pytest.param("model/data/seeded.py", "def send():\n    import kombu", id="model-kombu-in-a-function"),
        pytest.param("worker/queue/seeded.py", "def load():\n    import tensorflow", id="worker-tensorflow"),
        pytest.param("dicom_io/header/seeded.py", "import keras", id="dicom_io-keras"),
        pytest.param("worker/queue/seeded.py", "def send():\n    from celery import Celery", id="worker-celery"),
        pytest.param("model/data/dataset.py", "import model.config", id="model-upwards"),
    ],
)
def test_a_forbidden_import_is_reported(tmp_path, place, statement):
    done = lint_imports(scratch_tree(tmp_path, place, statement))
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
    assert place.removesuffix(".py").replace("/", ".") in done.stdout


def test_a_circle_within_a_room_is_reported(tmp_path):
    scratch_tree(tmp_path, "dicom_io/inbox/spool.py", "import dicom_io.inbox.store")
    (tmp_path / "dicom_io/inbox/store.py").write_text("import dicom_io.inbox.spool\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "dicom_io: no circles within a room BROKEN" in done.stdout


def test_a_circle_within_a_room_of_model_is_reported(tmp_path):
    scratch_tree(tmp_path, "model/serving/engine.py", "import model.serving.bundle")
    (tmp_path / "model/serving/bundle.py").write_text("import model.serving.engine\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "model: no circles within a room BROKEN" in done.stdout


def scratch_tree(folder: Path, place: str, statement: str) -> Path:
    """Lay out all modules of the three packages, empty, under the real contracts, and one that says `statement`."""
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for package in ("worker", "dicom_io", "model"):
        for module in (ROOT / package).rglob("*.py"):
            empty = folder / module.relative_to(ROOT)
            empty.parent.mkdir(parents=True, exist_ok=True)
            empty.touch()
    for name in ("app", "tasks"):
        (folder / "worker" / "processes" / f"{name}.py").write_text("import celery\n")
    (folder / place).write_text(statement + "\n")
    return folder


def statements_in(source: str) -> set[str]:
    """Name what a module imports from SQLAlchemy to write statements with."""
    harmless = {"Engine", "URL", "make_url"}
    return {
        name.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module in ("sqlalchemy", "sqlalchemy.dialects", "sqlalchemy.sql")
        for name in node.names
    } - harmless


def test_sql_statements_are_written_in_worker_db_alone():
    assert statements_in("from sqlalchemy import URL, select") == {"select"}
    modules = [path for path in (ROOT / "worker").rglob("*.py") if ROOT / "worker" / "db" not in path.parents]
    assert {str(path.relative_to(ROOT)): found for path in modules if (found := statements_in(path.read_text()))} == {}


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


def test_no_module_outside_the_networks_and_training_loads_tensorflow_when_imported():
    allowed = {"model.network.kinds", "model.network.lite0", "model.training.train"}
    names = [name for name in modules_of("dicom_io", "model") if name not in allowed]
    assert not loaded_after(names) & {"tensorflow", "keras", "sqlalchemy", "celery", "redis", "kombu"}


def test_the_worker_and_its_command_line_load_neither_tensorflow_nor_the_extra_evaluate_when_imported():
    loaded = loaded_after(modules_of("worker", "model/serving"))
    assert not loaded & {"tensorflow", "keras", "jinja2", "scipy", "sklearn"}
