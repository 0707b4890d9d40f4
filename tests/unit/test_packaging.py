from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.mark.parametrize("folder", ["migrations", "model/bundles", "dicom_io"])
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
    declared = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["cpu"], *groups]
    names = {re.split(r"[\[>=<;, ]", entry)[0].lower().replace("_", "-") for entry in declared}
    required = {name for name, _ in REQUIREMENT.findall((ROOT / "requirements-dev.txt").read_text())}
    assert names <= required


def test_every_locked_package_has_a_wheel():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    missing = [package["name"] for package in lock["package"] if not package.get("wheels")]
    assert missing == ["auscult"]
