"""Run an atheris target for a few seconds from a corpus: the same in each run, and no network, files or servers needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
DEADLINE_S = 90.0
INPUT_DEADLINE_S = 10
#: libFuzzer's own tables count too, and an honest picture may take hundreds.
MEMORY_MIB = 2048
#: The most memory that a process ever had begins with that of the one that started it (Linux keeps it over an exec), and a
#: test process that has run TensorFlow has 2 GB. A shell between them has next to nothing.
BY_SHELL = ("sh", "-c", '"$@"; exit $?', "sh")


def guided(target: str, seeds: Iterable[bytes], folder: Path, *, runs: int, longest: int) -> None:
    """Fail with libFuzzer's last words where the target breaks a promise, hangs or grows; skip where it has no wheel.

    ``target`` is a module of this package, ``longest`` the most bytes of an input.
    """
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python and platform")
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    bounds = [f"-timeout={INPUT_DEADLINE_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={longest}"]
    options = [f"-runs={runs}", "-seed=1", "-verbosity=0", *bounds, f"-artifact_prefix={folder}/"]
    ended = subprocess.run(
        [*BY_SHELL, sys.executable, "-m", f"tests.fuzz.{target}", *options, str(corpus)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
