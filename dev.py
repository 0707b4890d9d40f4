#!/usr/bin/env python3
"""The one tool that a fresh machine needs: it makes the environment, then runs, tests or measures Auscult.

    python3 dev.py run [...]            the environment, then `auscult demo [...]`
    python3 dev.py test [...]           the checks, then the tests; what follows goes to pytest
                        [--quick]       only unit tests, without those that need public films
                        [--proofs]      only the long proofs, of which the tests have a short form
                        [--coverage]    measures coverage with branches and prints it; takes about twice as long
    python3 dev.py check                lint, types, import rules and the documentation (build/docs) alone
    python3 dev.py bench [...]          the figures of benchmarks/
    python3 dev.py faults [...]         rounds of faults at random on real processes: --minutes N, --seed S, --database D
    python3 dev.py env [--pip]          the environment alone; --pip: with pip even where uv is found
    python3 dev.py audit                known vulnerabilities of what is installed for running, and its bill of materials
    python3 dev.py lock [--upgrade]     uv.lock and the requirements files made from it (needs uv)

The environment is .venv beside this file: by uv where it is found, else by pip, both from locked versions. A second
run finds it up to date and starts at once. Needs Python 3.11 to 3.13; Ctrl-C ends everything; exit codes pass through.
"""

# It runs before anything is installed, so it imports only the standard library. An older Python must be able to parse it
# up to the sentence that says which Python is needed.
from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
STAMP = VENV / "auscult-dev.json"
PYPI = "https://pypi.org/simple"
RUN, DEV = "run", "dev"
EXTRAS = ["cpu", "evaluate", "train"]
GROUPS = {RUN: ["build"], DEV: ["build", "lint", "typing", "test", "docs"]}
REQUIREMENTS = {RUN: "requirements.txt", DEV: "requirements-dev.txt"}
SERVE = "requirements-serve.txt"  # what an image without TensorFlow installs
QUICK = "not (acceptance or integration or tensorflow or slow or data or proof)"
SUITE, PROOFS = "not proof", "proof"
# The tests run in as many processes as there are cores: threads of NumPy in each would wait for one another.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# In an environment of their own, because they depend on other versions than Auscult does.
AUDIT_TOOLS = ("pip-audit==2.10.1", "cyclonedx-bom==7.5.0")
CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "codespell": ["codespell"],
    "import rules": ["lint-imports"],
    "docs": ["mkdocs", "build", "--strict"],  # --quiet would hide the warnings from --strict as well
    "mypy": ["mypy"],
}


class DevError(Exception):
    """Something a person has to change; the message says what."""


def say(text: str) -> None:
    """Print a line of progress; standard output belongs to the command that is run."""
    print("dev: " + text, file=sys.stderr, flush=True)


def call(command: Sequence[str], *, env: dict[str, str] | None = None) -> int:
    """Run a command in the checkout until it ends; a Ctrl-C or SIGTERM is left to the command, which ends by it."""
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    interrupted = False
    try:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                interrupted = True
    finally:
        signal.signal(signal.SIGTERM, previous)
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def replace(command: list[str]) -> NoReturn:
    """Become the command, so that its signals and its exit code are ours."""
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell is meant


# The environment


def base_python() -> str:
    """Return the interpreter this program runs on, not that of an environment around it."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def refuse_other_pythons() -> None:
    """Stop with the name of a Python that fits, if one is installed."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    fitting = next((name for name in names if answers([name, "--version"])), None)
    advice = f"run `{fitting} dev.py ...`" if fitting else "install one, for example by your system's package manager"
    raise DevError(
        "this is Python {}.{}, Auscult needs 3.{} to 3.{}: {}".format(
            *sys.version_info[:2], OLDEST[1], NEWEST[1], advice
        )
    )


def answers(command: Sequence[str]) -> bool:
    """Whether a program is there and works (a version manager's shim may exist without a program behind it)."""
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def stamp_of(level: str) -> dict[str, str]:
    """Describe what the checkout asks for and what is installed; kept in the environment once that is complete."""
    import tomllib  # not in the older Pythons that must still come as far as refuse_other_pythons

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    parts = {key: project.get(key) for key in ("build-system", "project", "dependency-groups")}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name in ("uv.lock", *REQUIREMENTS.values()):
        digest.update((ROOT / name).read_bytes())
    installed = sorted(folder.name for folder in VENV.glob("lib/python*/site-packages/*.dist-info"))
    return {
        "level": level,
        "lock": digest.hexdigest(),
        "python": platform.python_version(),
        "place": str(VENV),  # scripts hold it: a moved checkout needs new ones
        "installed": hashlib.sha256("\n".join(installed).encode()).hexdigest(),
    }


def current_stamp() -> dict[str, str]:
    """Read what the environment says of itself; empty where there is none."""
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and Path(PYTHON).exists() else {}


def ensure(level: str, *, by_pip: bool = False) -> None:
    """Make the environment, unless the one that is there is what the lock asks for."""
    current = current_stamp()
    if current.get("level") == DEV:
        level = DEV  # never take the tools away from somebody who has them
    if current == stamp_of(level):
        return
    if sys.platform != "linux" or platform.machine() != "x86_64":
        say(
            f"tensorflow-cpu has no wheel for {platform.system()} {platform.machine()}: serving works without it, but "
            "`auscult model train` and the tests marked tensorflow need a TensorFlow of your own"
        )
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    if current.get("place", str(VENV)) != str(VENV):
        say("the checkout has moved, and with it the environment, whose programs know the old place: making it again")
        clear()
    if VENV.is_symlink():
        VENV.resolve().mkdir(parents=True, exist_ok=True)  # a link to where there is nothing yet
    uv = None if by_pip else shutil.which("uv")
    if not (uv and answers([uv, "--version"]) and sync_by_uv(uv, level)):
        install_by_pip(level)
    STAMP.write_text(json.dumps(stamp_of(level)) + "\n", "utf-8")
    say(f"environment {VENV} is complete after {time.monotonic() - started:.0f} s")


def sync_by_uv(uv: str, level: str) -> bool:
    """Bring .venv to the lock with uv; False, and a line that says so, where uv cannot."""
    command = [uv, "sync", "--frozen", "--python", base_python()]
    command += [f"--extra={extra}" for extra in EXTRAS]
    command += [f"--group={group}" for group in GROUPS[level]]
    if level == RUN:
        command.append("--inexact")
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    say("making the environment: " + shlex.join(command))
    code = call(command, env={**env, "UV_PROJECT_ENVIRONMENT": str(VENV.resolve())})
    if code:
        say(f"uv ended with exit code {code}; trying pip")
    return code == 0


def clear() -> None:
    """Remove the environment; where .venv is a link, what is in the folder it leads to, and neither of the two."""
    if not VENV.is_symlink():
        shutil.rmtree(VENV)
        return
    for entry in VENV.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def install_by_pip(level: str) -> None:
    """Install the hashed requirements into .venv with pip, then Auscult itself as an editable package."""
    make_venv()
    env = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER")}
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-q", "--progress-bar", "off"]
    # pip compiles ten thousand files one after the other; below every CPU takes its share.
    pip.append("--no-compile")
    say(f"installing {REQUIREMENTS[level]} with pip (about 700 MB to fetch: minutes when nothing is cached)")
    failed = call([*pip, "--no-deps", "--require-hashes", "--only-binary=:all:", "-r", REQUIREMENTS[level]], env=env)
    # The requirements hold hatchling: nothing unlocked is fetched to build with.
    failed = failed or call([*pip, "--no-deps", "--no-build-isolation", "--editable", "."], env=env)
    if not failed:
        # What does not compile, as some packages' tests and templates, is nothing that is imported.
        call([PYTHON, "-m", "compileall", "-qq", "-j", "0", str(VENV / "lib")], env=env)
    if failed:
        raise DevError(
            f"pip failed (exit code {failed}), its own words are above; Auscult's dependencies have wheels for glibc "
            f"Linux and macOS, this is {platform.system()} {platform.machine()} {''.join(platform.libc_ver())}"
        )


def make_venv() -> None:
    """Make .venv with pip in it; one that was made for another Python is made again."""
    # Of this Python, and really an environment: through a link to the system's Python pip would install into that.
    fits = (
        f"import os, sys; here = os.path.realpath(sys.prefix) == {os.path.realpath(VENV)!r} != sys.base_prefix; "
        f"sys.exit(not here or sys.version_info[:2] != {sys.version_info[:2]!r})"
    )
    if not answers([PYTHON, "-c", fits]):
        if (VENV / "pyvenv.cfg").exists():
            say(f"{VENV} was made for another Python or is broken: making it again")
            clear()
        elif VENV.exists() and not (VENV.is_symlink() and VENV.is_dir() and not any(VENV.iterdir())):
            raise DevError(f"{VENV} is in the way and is no Python environment: move it away")
        need_ensurepip()
        say(f"making {VENV}")
        if call([base_python(), "-m", "venv", str(VENV)]):
            raise DevError("the module venv failed, its own words are above; on Debian: apt install python3-venv")
    elif not answers([PYTHON, "-m", "pip", "--version"]):  # made by uv
        need_ensurepip()
        if call([PYTHON, "-m", "ensurepip", "--upgrade"]):
            raise DevError("ensurepip failed, its own words are above; remove .venv and try again")


def need_ensurepip() -> None:
    """Stop with advice where the Python came without pip's installer, as Debian's does."""
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        raise DevError(
            "this Python cannot make an environment (no ensurepip): on Debian and Ubuntu "
            "`apt install python3-venv`; without root, put uv on the PATH (https://docs.astral.sh/uv/)"
        )


# The commands


def run(arguments: list[str]) -> NoReturn:
    """Bring up the demo; the working folder stays the caller's, as its paths are."""
    ensure(RUN)
    say("auscult demo " + shlex.join(arguments))
    replace([str(VENV / "bin" / "auscult"), "demo", *arguments])


def check(arguments: list[str] | None = None) -> int:
    """Run every check, two at a time, and print the words of those that fail."""
    if arguments:
        raise DevError(f"check takes no arguments, not {shlex.join(arguments)}")
    ensure(DEV)
    with ThreadPoolExecutor(2) as pool:
        # The longest first; printed in the order of the table.
        outcomes = {name: pool.submit(one_check, CHECKS[name]) for name in reversed(CHECKS)}
        failed = [name for name in CHECKS if not report(name, *outcomes[name].result())]
    if failed:
        say("failed: " + ", ".join(failed))
    return 1 if failed else 0


def one_check(command: list[str]) -> tuple[int, str, float]:
    """Run one tool of the environment; return its exit code, its words and its seconds."""
    started = time.monotonic()
    done = subprocess.run(
        [str(VENV / "bin" / command[0]), *command[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, time.monotonic() - started


def report(name: str, code: int, words: str, seconds: float) -> bool:
    """Print how a check ended; True when it passed."""
    if code:
        print(words, end="", flush=True)
    say(f"{name}: {f'FAILED (exit code {code})' if code else 'ok'}, {seconds:.1f} s")
    return code == 0


def test(arguments: list[str]) -> int:
    """Run the checks and then the tests, also when a check fails: one run tells everything."""
    which = QUICK if "--quick" in arguments else PROOFS if "--proofs" in arguments else SUITE
    with_coverage = "--coverage" in arguments
    chosen = [argument for argument in arguments if argument not in ("--quick", "--proofs", "--coverage")]
    failed = check()
    # A file's tests stay in one process: they share servers, and the processes of two files use ports of their own.
    # One more than there are processors, as tests often wait for processes and peers.
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(4, processors + 1)
    command = [
        PYTHON,
        *(["-m", "coverage", "run"] if with_coverage else []),
        "-m",
        "pytest",
        "-n",
        str(workers),
        "--dist",
        "loadfile",
        # Else the files with the most tests come first; tests/conftest.py puts those first that take longest.
        "--no-loadscope-reorder",
        "--durations",
        "20",
    ]
    # pytest-xdist gives a file whose process died to a new one, again and again: once is enough to know.
    command += ["--max-worker-restart", "1"]
    command += ["-m", which, *chosen]
    say(shlex.join(command))
    code = call(command, env={**os.environ, **ONE_THREAD})
    if with_coverage:
        code = code or print_coverage()
    if failed:
        say("the checks failed, see above")
    return code or failed


def print_coverage() -> int:
    """Print the coverage of each file and the functions with the least; return an exit code."""
    found = ROOT / "build" / "coverage.json"
    found.parent.mkdir(exist_ok=True)
    for step in (["combine", "--quiet"], ["report"], ["json", "--quiet", "-o", str(found)]):
        if code := call([PYTHON, "-m", "coverage", *step]):
            return code
    print("\nThe functions with the least coverage, of those with at least 5 statements:")
    for share, name in least_covered(json.loads(found.read_text("utf-8")))[:10]:
        print(f"{share:4.0f} %  {name}")
    return 0


def least_covered(report: dict[str, Any]) -> list[tuple[float, str]]:
    """Return percent and name of each function with at least 5 statements: the least covered first, of these the longest."""
    functions = {
        f"{path}: {name}": function["summary"]
        for path, file in report["files"].items()
        for name, function in file["functions"].items()
        if name
    }
    chosen = {name: found for name, found in functions.items() if found["num_statements"] >= 5}
    names = sorted(chosen, key=lambda name: (chosen[name]["percent_covered"], -chosen[name]["num_statements"]))
    return [(chosen[name]["percent_covered"], name) for name in names]


def bench(arguments: list[str]) -> NoReturn:
    """Print the figures of benchmarks/."""
    ensure(DEV)
    os.chdir(ROOT)
    replace([PYTHON, "-m", "benchmarks", *arguments])


def faults(arguments: list[str]) -> NoReturn:
    """Hurt a site in every way for as long as told; the tests have a short form."""
    ensure(DEV)
    os.chdir(ROOT)
    replace([PYTHON, "-m", "tests.faults", *arguments])


def env(arguments: list[str]) -> int:
    """Make the environment with all tools."""
    if set(arguments) - {"--pip"}:
        raise DevError(f"env takes --pip alone, not {shlex.join(arguments)}")
    ensure(DEV, by_pip="--pip" in arguments)
    say(f"ready: {PYTHON}")
    return 0


def audit(arguments: list[str]) -> int:
    """Write build/sbom.cdx.json and build/audit.json; 1 where a package has a known vulnerability."""
    if arguments:
        raise DevError(f"audit takes no arguments, not {shlex.join(arguments)}")
    build = ROOT / "build"
    tools, sbom, found = build / "audit-tools", build / "sbom.cdx.json", build / "audit.json"
    python = str(tools / "bin" / "python")
    wanted = [*AUDIT_TOOLS, "--quiet", "--disable-pip-version-check"]
    need_ensurepip()
    if call([base_python(), "-m", "venv", str(tools)]) or call([python, "-m", "pip", "install", *wanted]):
        raise DevError("the tools of the audit cannot be installed, pip's words are above")
    for path in (sbom, found):
        path.unlink(missing_ok=True)
    requirements = str(ROOT / REQUIREMENTS[RUN])
    described = ["requirements", requirements, "--output-reproducible", "--output-file", str(sbom)]
    if call([python, "-m", "cyclonedx_py", *described]):
        raise DevError("the bill of materials cannot be written, the tool's words are above")
    say(f"wrote {sbom.relative_to(ROOT)} (CycloneDX)")
    asked = [
        "--requirement",
        requirements,
        "--require-hashes",
        "--disable-pip",
        "--format",
        "json",
        "--output",
        str(found),
    ]
    code = call([python, "-m", "pip_audit", *asked])
    answer = json.loads(found.read_text("utf-8")) if found.exists() else {}
    return report_audit(answer.get("dependencies", [])) or code


def report_audit(packages: list[dict[str, Any]]) -> int:
    """Print each known vulnerability, and each package that was not looked up; 1 where there is one of either."""
    skipped = [entry for entry in packages if "skip_reason" in entry]
    if len(skipped) == len(packages):
        # Without an answer nothing is known, which is not the same as "nothing was found".
        raise DevError("PyPI's list of known vulnerabilities gave no answer, so nothing is known: try again online")
    for entry in packages:
        for known in entry.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no release"
            say(f"{entry['name']} {entry['version']}: {known['id']}, fixed in {fixed}")
    for entry in skipped:
        say(f"{entry['name']}: not looked up ({entry['skip_reason']})")
    hurt = sum(bool(entry.get("vulns")) for entry in packages)
    say(f"{len(packages)} packages: {hurt} with known vulnerabilities, {len(skipped)} not looked up")
    return 1 if hurt or skipped else 0


def lock(arguments: list[str]) -> int:
    """Write uv.lock and the requirements files from pyproject.toml, by PyPI's addresses alone."""
    uv = shutil.which("uv")
    if not uv:
        raise DevError("lock needs uv on the PATH (https://docs.astral.sh/uv/)")
    # An index or a mirror of this machine must not get into files that other machines use.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    if code := call([uv, "lock", "--no-config", "--default-index", PYPI, *arguments], env=clean):
        return code
    export = [uv, "export", "--no-config", "--frozen", "--quiet", "--no-emit-project", "--no-annotate", "--no-header"]
    targets = {SERVE: ["--group=build"]}
    for level, target in REQUIREMENTS.items():
        targets[target] = [f"--extra={extra}" for extra in EXTRAS] + [f"--group={group}" for group in GROUPS[level]]
    for target, parts in targets.items():
        if code := call([*export, *parts, "--output-file", target], env=clean):
            return code
        say(f"wrote {target}")
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": run,
    "test": test,
    "check": check,
    "bench": bench,
    "faults": faults,
    "env": env,
    "audit": audit,
    "lock": lock,
}


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0 if arguments else 2
    try:
        refuse_other_pythons()
        if arguments[0] not in COMMANDS:
            raise DevError(f"no command {arguments[0]!r}; there are " + ", ".join(COMMANDS))
        return COMMANDS[arguments[0]](arguments[1:])
    except DevError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
