"""The wheel as a stranger installs it: bare environment, no extras, outside the checkout, versions as pip finds them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_wheel_alone_brings_up_the_demo(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "bare")], check=True)
    pip = [str(tmp_path / "bare" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    wheel = next(tmp_path.glob("*.whl"))
    command = [*pip, "install", "-q", "--only-binary=:all:", "--no-compile", str(wheel)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    if done.returncode and not IN_CI and "No matching distribution" in done.stderr + done.stdout:
        pytest.skip("no package registry answers")
    assert done.returncode == 0, done.stderr
    with tempfile.TemporaryDirectory(prefix="auscult-bare-", dir="/tmp") as home:
        env |= {"AUSCULT_HOME": home}
        demo = [str(tmp_path / "bare" / "bin" / "auscult"), "demo", "--once", "--port", "0"]
        done = subprocess.run(demo, cwd=home, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "PNEUMONIA" in done.stdout
