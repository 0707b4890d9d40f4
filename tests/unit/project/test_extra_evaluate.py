from __future__ import annotations

import subprocess
import sys

from tests.support.documents import ROOT
from worker.cli.common.extras import EVALUATE

WITHOUT = f"""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in {EVALUATE!r}
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


COMMANDS = (
    "evaluate films",
    "compare notebook-1 notebook-2 films",
    "calibrate notebook-1 films",
    "data films",
    "train --data films --out run",
)
RUN = f"""
from worker.cli import main

for command in {COMMANDS!r}:
    sys.argv = ["auscult", "model", *command.split()]
    try:
        main()
    except SystemExit as end:
        print(end.code)
"""


def without_the_extra(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter that finds none of the packages of the extra."""
    command = [sys.executable, "-c", WITHOUT + program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_command_without_its_packages_names_the_extra_and_ends_with_2():
    done = without_the_extra(RUN)
    assert done.stdout.split() == ["2"] * len(COMMANDS), done.stderr
    sentences = done.stderr.splitlines()
    assert len(sentences) == len(COMMANDS)
    assert all("pip install '.[evaluate]'" in sentence for sentence in sentences)


SCORE = """
import numpy as np
from model.serving.bundle import builtin_folder, find_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine

bundle = find_bundle("auscult-1", [builtin_folder()])
film = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
print(Classifier(bundle, open_engine(bundle, "litert")).score(film).band)
"""


def test_a_film_is_scored_without_the_extra():
    done = without_the_extra(SCORE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"LOW", "INTERMEDIATE", "HIGH"}
