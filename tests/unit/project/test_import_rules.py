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


#: Where a forbidden import is written (`*`: a module of its own), and what is written there.
FORBIDDEN = {
    "dicom_io-model": ("dicom_io/header/*.py", "import model.config"),
    "model-dicom_io": ("model/data/*.py", "import dicom_io.errors"),
    "dicom_io-worker": ("dicom_io/header/*.py", "import worker.errors"),
    "model-worker": ("model/data/*.py", "import worker.errors"),
    "dicom_io-upwards": ("dicom_io/header/*.py", "import dicom_io.inbox.spool"),
    "dicom_io-module-upwards": ("dicom_io/quiet.py", "import dicom_io.errors"),
    "dicom_io-sideways": ("dicom_io/film/*.py", "import dicom_io.client.peer"),
    "dicom_io-listener-decodes": ("dicom_io/listener/*.py", "import dicom_io.pixels.decode"),
    "dicom_io-upwards-for-a-type": (
        "dicom_io/network/tls.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import dicom_io.listener.options",
    ),
    "model-scikit-learn": ("model/data/*.py", "def fit():\n    import sklearn.metrics"),
    "worker-jinja2": ("worker/queue/*.py", "def page():\n    import jinja2"),
    "model-in-a-function": ("model/serving/*.py", "def f():\n    import model.training.export"),
    "model-upwards-for-a-type": (
        "model/operating/*.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from model.serving.bundle import Bundle",
    ),
    "worker.db-settings": ("worker/db/tasks/claims.py", "import worker.settings"),
    "worker-upwards-in-a-function": ("worker/settings.py", "def read():\n    import worker.peers"),
    "worker-upwards-for-a-type": (
        "worker/models/active.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import worker.judging.pipeline",
    ),
    "worker.cli-verb-of-another-group": ("worker/cli/model/verify.py", "import worker.cli.rerun"),
    "worker.cli-upwards": ("worker/cli/common/output.py", "import worker.cli.show"),
    "worker.db-upwards": ("worker/db/schema/*.py", "import worker.db.answers.results"),
    "dicom_io-sqlalchemy": ("dicom_io/header/*.py", "import sqlalchemy"),
    "dicom_io-celery": ("dicom_io/header/*.py", "from celery import Celery"),
    "model-redis": ("model/data/*.py", "import redis.client"),
    "model-kombu-in-a-function": ("model/data/*.py", "def send():\n    import kombu"),
    "worker-tensorflow": ("worker/queue/*.py", "def load():\n    import tensorflow"),
    "dicom_io-keras": ("dicom_io/header/*.py", "import keras"),
    "worker-celery": ("worker/queue/*.py", "def send():\n    from celery import Celery"),
    "model-upwards": ("model/data/dataset.py", "import model.config"),
}
#: They break a contract by being there: every module has to have a layer.
WITHOUT_A_LAYER = ["dicom_io/*.py", "model/*.py", "worker/*.py"]


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> list[str]:
    """What is said of a tree that breaks all these rules at once."""
    folder = scratch_tree(tmp_path_factory.mktemp("tree"), "dicom_io/header/fine.py", "import numpy")
    for name, (place, statement) in FORBIDDEN.items():
        (folder / seeded(place, name)).write_text(statement + "\n")
    for place in WITHOUT_A_LAYER:
        (folder / seeded(place)).touch()
    done = lint_imports(folder)
    assert done.returncode == 1, done.stdout
    return [line.removeprefix("-").strip() for line in done.stdout.splitlines()]


def seeded(place: str, name: str = "alone") -> str:
    return place.replace("*", f"seeded_{name.replace('-', '_').replace('.', '_')}")


def module_of(place: str) -> str:
    return place.removesuffix(".py").replace("/", ".")


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_import_is_reported(reported, name):
    place, statement = FORBIDDEN[name]
    lines = statement.splitlines()
    imported = lines[-1].split()[1]  # import NAME, or from NAME import Something
    if imported.partition(".")[0] not in ("worker", "dicom_io", "model"):
        imported = imported.partition(".")[0]
    assert f"{module_of(seeded(place, name))} -> {imported} (l.{len(lines)})" in reported


@pytest.mark.parametrize("place", WITHOUT_A_LAYER)
def test_a_module_without_a_layer_is_reported(reported, place):
    assert module_of(seeded(place)) in reported


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
