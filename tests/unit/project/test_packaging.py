from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.documents import ROOT

REQUIREMENTS = ("requirements-serve.txt", "requirements.txt", "requirements-dev.txt")
REQUIREMENT = re.compile(r"^([a-z0-9-]+)==([^\s;\\]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return wheel.namelist()


def test_the_wheel_holds_the_three_packages_and_the_migrations_and_nothing_else(wheel_names):
    tops = {name.partition("/")[0] for name in wheel_names if ".dist-info/" not in name}
    assert tops == {"worker", "dicom_io", "model"}


@pytest.mark.parametrize("folder", ["migrations", "model/bundles", "model/reports", "dicom_io"])
def test_every_file_of_a_data_folder_is_in_the_wheel(wheel_names, folder):
    files = [file for file in (ROOT / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    inside = {str(file.relative_to(ROOT)).replace("migrations/", "worker/_migrations/", 1) for file in files}
    assert inside
    assert inside <= set(wheel_names)


def test_the_wheel_holds_the_licence(wheel_names):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)


def test_tensorflow_comes_by_an_extra_alone(project):
    names = " ".join(project["project"]["dependencies"])
    assert "tensorflow" not in names
    assert "keras" not in names


@pytest.mark.parametrize("name", ["uv.lock", *REQUIREMENTS])
def test_the_locks_name_no_other_index_than_pypi(name):
    text = (ROOT / name).read_text()
    hosts = set(re.findall(r"\w+://([^/\"\s]+)", text))
    assert hosts <= {"pypi.org", "files.pythonhosted.org"}
    assert "file://" not in text
    assert "find-links" not in text


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_the_requirements_are_those_of_the_lock_each_with_a_hash(name):
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = {(package["name"], package["version"]) for package in lock["package"]}
    text = (ROOT / name).read_text()
    required = REQUIREMENT.findall(text)
    assert required
    assert set(required) <= locked
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_development_requirements_hold_everything_that_is_declared(project):
    groups = [entry for group in project["dependency-groups"].values() for entry in group]
    extras = project["project"]["optional-dependencies"]
    declared = [*project["project"]["dependencies"], *extras["cpu"], *extras["evaluate"], *extras["train"], *groups]
    names = {re.split(r"[\[>=<;, ]", entry)[0].lower().replace("_", "-") for entry in declared}
    required = {name for name, _ in REQUIREMENT.findall((ROOT / "requirements-dev.txt").read_text())}
    assert names <= required


def test_every_locked_package_has_a_wheel():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    missing = [package["name"] for package in lock["package"] if not package.get("wheels")]
    assert missing == ["auscult"]


def imported_by(folder: Path) -> set[str]:
    """The top-level names that the code of a package imports, wherever in a file."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("folder", ["worker", "dicom_io", "model", "migrations"])
def test_every_package_that_is_imported_is_declared(project, folder):
    extras = project["project"]["optional-dependencies"]
    entries = [
        *project["project"]["dependencies"],
        *extras["cpu"],
        *extras["evaluate"],
        "keras",
        "h5py",
    ]  # tensorflow brings both along
    declared = {re.split(r"[\[>=<;, ]", entry)[0].lower().replace("_", "-") for entry in entries}
    providers = metadata.packages_distributions()
    ours = {"worker", "dicom_io", "model", "migrations"}
    imported = imported_by(ROOT / folder) - set(sys.stdlib_module_names) - ours
    assert imported
    # Types for mypy alone (_typeshed), and tensorflow, whose wheel has another name and is not everywhere.
    imported = {name for name in imported if not name.startswith("_") and name != "tensorflow"}
    undeclared = {name for name in imported if not {each.lower() for each in providers.get(name, [name])} & declared}
    assert undeclared == set()


def test_what_kombu_needs_of_an_undeclared_package_is_declared(project):
    transport = metadata.distribution("kombu").locate_file("kombu/transport/redis.py")
    needed = "packaging" in Path(str(transport)).read_text("utf-8")
    assert needed == any(entry.startswith("packaging") for entry in project["project"]["dependencies"])
