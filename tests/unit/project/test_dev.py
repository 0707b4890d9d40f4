from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import dev
from tests.support.documents import ROOT
from tests.support.waiting import wait_until

DEV = ROOT / "dev.py"


def run_dev(*arguments: str, script: Path = DEV, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the files that decide about the environment, and nothing else."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("dev.py", "pyproject.toml", "uv.lock", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def load(checkout: Path):
    """Import the dev.py of a checkout as a module of its own."""
    spec = importlib.util.spec_from_file_location("dev_under_test", checkout / "dev.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def complete_environment(checkout: Path, level: str) -> None:
    """Stand in for an installed environment: a file named python, one package, programs and the stamp that says so."""
    binaries = checkout / ".venv/bin"
    binaries.mkdir(parents=True)
    # No real interpreter: a dev.py that is wrong about this environment must not install into the one behind a link.
    program(binaries / "python", "#!/bin/sh\nexit 1\n")
    (checkout / ".venv/lib/python3/site-packages/one-1.dist-info").mkdir(parents=True)
    dev = load(checkout)
    Path(dev.STAMP).write_text(json.dumps(dev.stamp_of(level)))


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_only_the_standard_library_is_imported():
    imports = [node for node in ast.walk(ast.parse(DEV.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_an_older_python_can_read_it_as_far_as_the_refusal():
    ast.parse(DEV.read_text(), feature_version=(3, 8))


def test_a_python_that_does_not_fit_is_refused_with_the_range(checkout, capsys):
    dev = load(checkout)
    dev.OLDEST, dev.NEWEST = (3, 98), (3, 99)
    assert dev.main(["env"]) == 2
    assert "Auscult needs 3.98 to 3.99: install one" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["dance"], ["check", "this"], ["env", "--fast"]])
def test_wrong_usage_is_one_line_and_exit_code_2(checkout, arguments):
    done = run_dev(*arguments, script=checkout / "dev.py")
    assert done.returncode == 2
    assert done.stderr.startswith("dev: ")
    assert len(done.stderr.splitlines()) == 1


def test_without_arguments_the_commands_are_listed_and_the_exit_code_is_that_of_wrong_usage(checkout):
    done = run_dev()
    assert (done.returncode, done.stderr) == (2, "")
    for command in load(checkout).COMMANDS:
        assert f"python3 dev.py {command} " in done.stdout
    assert (run_dev("--help").stdout, run_dev("--help").returncode) == (done.stdout, 0)


def test_coverage_is_measured_with_branches_combined_and_printed(checkout):
    complete_environment(checkout, "dev")
    for name in ("ruff", "codespell", "mypy", "mkdocs", "lint-imports"):
        program(checkout / ".venv/bin" / name, "#!/bin/sh\nexit 0\n")
    (checkout / ".venv/bin/python").unlink()
    report = {
        "files": {
            "a.py": {
                "functions": {
                    "": {"summary": {"num_statements": 30, "percent_covered": 0.0}},
                    "f": {"summary": {"num_statements": 5, "percent_covered": 80.0}},
                    "g": {"summary": {"num_statements": 9, "percent_covered": 12.5}},
                    "h": {"summary": {"num_statements": 4, "percent_covered": 0.0}},
                }
            }
        }
    }
    (checkout / "report.json").write_text(json.dumps(report))
    program(
        checkout / ".venv/bin/python",
        '#!/bin/sh\necho "$@" >>log\n[ "$3" != json ] || cp report.json "$6"\n',
    )
    done = run_dev("test", "--quick", "--coverage", "-k", "x", script=checkout / "dev.py")
    assert done.returncode == 0, done.stderr
    ran = [line.split()[1:4] for line in (checkout / "log").read_text().splitlines()]
    assert ran == [["coverage", "run", "-m"], ["coverage", "combine", "--quiet"], ["coverage", "report"], *ran[3:]]
    assert done.stdout.splitlines()[-2:] == ["  12 %  a.py: g", "  80 %  a.py: f"]


def test_a_complete_environment_is_used_at_once_and_run_becomes_the_demo(checkout):
    complete_environment(checkout, "run")
    program(checkout / ".venv/bin/auscult", '#!/bin/sh\necho "$@" from "$PWD"\nexit 7\n')
    done = run_dev("run", "--once", "--films", "a b", script=checkout / "dev.py")
    assert done.returncode == 7
    assert done.stdout == f"demo --once --films a b from {Path.cwd()}\n"
    assert done.stderr == "dev: auscult demo --once --films 'a b'\n"


def test_run_keeps_an_environment_that_has_the_tools(checkout):
    complete_environment(checkout, "dev")
    program(checkout / ".venv/bin/auscult", "#!/bin/sh\nexit 0\n")
    done = run_dev("run", script=checkout / "dev.py")
    assert (done.returncode, done.stderr) == (0, "dev: auscult demo \n")


@pytest.mark.parametrize("change", ["lock", "dependencies", "installed", "interpreter"])
def test_the_environment_is_made_anew_when_something_it_depends_on_changed(checkout, change):
    complete_environment(checkout, "run")
    if change == "lock":
        with (checkout / "uv.lock").open("a") as lock:
            lock.write("\n# changed\n")
    elif change == "dependencies":
        project = (checkout / "pyproject.toml").read_text()
        (checkout / "pyproject.toml").write_text(project.replace("dependencies = [", 'dependencies = [\n"six",', 1))
    elif change == "installed":
        (checkout / ".venv/lib/python3/site-packages/one-1.dist-info").rmdir()
    else:
        (checkout / ".venv/bin/python").unlink()
    # A uv that fails and a .venv that is no environment: both installers are reached, and nothing is installed.
    program(checkout / "uv", '#!/bin/sh\n[ "$1" = --version ] || exit 3\n')
    done = run_dev("run", script=checkout / "dev.py", PATH=f"{checkout}:{os.environ['PATH']}")
    assert "uv ended with exit code 3; trying pip" in done.stderr
    assert done.returncode == 2


def test_a_change_of_tool_settings_leaves_the_environment_alone(checkout):
    complete_environment(checkout, "run")
    project = (checkout / "pyproject.toml").read_text()
    (checkout / "pyproject.toml").write_text(project.replace("line-length = 120", "line-length = 100"))
    program(checkout / ".venv/bin/auscult", "#!/bin/sh\nexit 0\n")
    assert run_dev("run", script=checkout / "dev.py").stderr == "dev: auscult demo \n"


def test_uv_gets_the_locked_versions_and_never_changes_the_lock(checkout):
    log = checkout / "log"
    program(checkout / "uv", f'#!/bin/sh\n[ "$1" = --version ] || {{ echo "$@" >{log}; exit 3; }}\n')
    (checkout / ".venv").mkdir()
    run_dev("run", script=checkout / "dev.py", PATH=f"{checkout}:{os.environ['PATH']}", VIRTUAL_ENV="/elsewhere")
    assert log.read_text().startswith("sync --frozen --python ")
    assert "--extra=cpu --extra=evaluate --extra=train --group=build --inexact" in log.read_text()


def test_a_python_without_ensurepip_says_what_to_install(checkout, monkeypatch):
    dev = load(checkout)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(dev.DevError, match="apt install python3-venv"):
        dev.need_ensurepip()


def linked(checkout: Path) -> Path:
    """Let .venv be a link to a folder elsewhere, which is moved there or missing."""
    elsewhere = checkout.parent / "elsewhere" / "env"
    if (checkout / ".venv").exists():
        elsewhere.parent.mkdir()
        (checkout / ".venv").rename(elsewhere)
    (checkout / ".venv").symlink_to(elsewhere)
    return elsewhere


def test_an_environment_behind_a_link_is_used_at_once(checkout):
    complete_environment(checkout, "run")
    program(checkout / ".venv/bin/auscult", "#!/bin/sh\nexit 7\n")
    linked(checkout)
    done = run_dev("run", script=checkout / "dev.py")
    assert (done.returncode, done.stderr) == (7, "dev: auscult demo \n")


def test_a_link_to_nothing_yet_is_where_the_environment_is_made(checkout):
    program(checkout / "uv", '#!/bin/sh\n[ "$1" = --version ] || echo "$UV_PROJECT_ENVIRONMENT"\n')
    elsewhere = linked(checkout)
    done = run_dev("env", script=checkout / "dev.py", PATH=f"{checkout}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (0, f"{elsewhere}\n"), done.stderr
    assert (elsewhere / "auscult-dev.json").exists()


def test_an_environment_behind_a_link_that_has_moved_is_emptied_and_the_link_stays(checkout):
    complete_environment(checkout, "run")
    (checkout / ".venv/auscult-dev.json").write_text('{"place": "/where/it/was"}')
    elsewhere = linked(checkout)
    program(checkout / "uv", "#!/bin/sh\nexit 0\n")
    done = run_dev("env", script=checkout / "dev.py", PATH=f"{checkout}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert (checkout / ".venv").readlink() == elsewhere
    assert [entry.name for entry in elsewhere.iterdir()] == ["auscult-dev.json"]


def test_an_environment_of_this_python_behind_a_link_is_kept(checkout, monkeypatch):
    venv.create(checkout / ".venv")
    elsewhere = linked(checkout)
    dev = load(checkout)
    calls: list[list[str]] = []
    monkeypatch.setattr(dev, "call", lambda command, **_: calls.append(list(command)))
    dev.make_venv()
    # It has no pip yet, and gets it; making it again would have been another call.
    assert [call[1:3] for call in calls] == [["-m", "ensurepip"]]
    assert (elsewhere / "pyvenv.cfg").exists()


def test_a_link_to_a_folder_that_is_no_environment_is_left_alone(checkout):
    elsewhere = linked(checkout)
    elsewhere.mkdir(parents=True)
    (elsewhere / "letter.txt").touch()
    program(checkout / "uv", '#!/bin/sh\n[ "$1" = --version ] || exit 3\n')
    done = run_dev("env", script=checkout / "dev.py", PATH=f"{checkout}:{os.environ['PATH']}")
    assert done.returncode == 2
    assert "is in the way and is no Python environment" in done.stderr
    assert [entry.name for entry in elsewhere.iterdir()] == ["letter.txt"]


def test_a_failed_check_fails_the_run_and_prints_the_tools_words(checkout):
    complete_environment(checkout, "dev")
    for name in ("ruff", "codespell", "mypy", "mkdocs", "lint-imports"):
        program(checkout / ".venv/bin" / name, f"#!/bin/sh\necho words of {name}\n[ {name} != mypy ]\n")
    done = run_dev("check", script=checkout / "dev.py")
    assert done.returncode == 1
    assert done.stdout == "words of mypy\n"
    assert "dev: ruff check: ok" in done.stderr
    assert "dev: mypy: FAILED (exit code 1)" in done.stderr


def test_ctrl_c_waits_for_the_child_and_ends_with_130(checkout):
    complete_environment(checkout, "dev")
    for name in ("ruff", "codespell", "mypy", "mkdocs", "lint-imports"):
        program(checkout / ".venv/bin" / name, "#!/bin/sh\nexit 0\n")
    (checkout / ".venv/bin/python").unlink()
    program(
        checkout / ".venv/bin/python",
        f"#!/bin/sh\ntrap 'touch {checkout}/ended; exit 2' INT\ntouch {checkout}/started\n"
        "while :; do read -t 1 x </dev/zero; done\n".replace("read -t 1 x </dev/zero", "sleep 0.05"),
    )
    command = [sys.executable, str(checkout / "dev.py"), "test", "-k", "x"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, text=True)
    try:
        wait_until((checkout / "started").exists, 30, "the start of the tests")
        os.killpg(process.pid, signal.SIGINT)
        _, words = process.communicate(timeout=30)
    finally:
        # With its child, which would go on for ever where the test fails before the signal.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert (checkout / "ended").exists()
    assert words.endswith("dev: stopped\n")


def test_ci_runs_the_test_command_on_the_films_beside_the_checkout(tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", checkout / ".ci/run")
    program(tmp_path / "python3", '#!/bin/sh\necho "$@" "$AUSCULT_TEST_DATA" "$CI" "$PWD"\nexit 5\n')
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def ci() -> tuple[int, str]:
        done = subprocess.run([checkout / ".ci/run"], env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert ci() == (5, f"dev.py test  true {checkout}\n")
    (tmp_path / "shared/data").mkdir(parents=True)
    assert ci() == (5, f"dev.py test {tmp_path / 'shared/data'} true {checkout}\n")


def looked_up(*ids: str) -> dict[str, Any]:
    return {"name": "pillow", "version": "9.0", "vulns": [{"id": name, "fix_versions": ["9.1"]} for name in ids]}


SKIPPED = {"name": "vine", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([looked_up()], 0, "1 packages: 0 with known vulnerabilities, 0 not looked up"),
        ([looked_up("CVE-1", "CVE-2"), looked_up()], 1, "pillow 9.0: CVE-2, fixed in 9.1"),
        ([looked_up(), SKIPPED], 1, "vine: not looked up (not found)"),
    ],
)
def test_an_audit_ends_with_1_for_what_is_vulnerable_or_not_known(
    packages: list[dict[str, Any]], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dev.report_audit(packages) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("packages", [[], [SKIPPED, SKIPPED]])
def test_an_audit_without_an_answer_is_no_clean_audit(packages: list[dict[str, Any]]) -> None:
    with pytest.raises(dev.DevError, match="nothing is known"):
        dev.report_audit(packages)
