"""The folder of one training run: its checkpoints, its history, and where it stands.

``state.json`` is replaced as a whole after an epoch's files are complete, and names them. Files that it does not name
are left over from a killed process and are removed.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

from model.errors import TrainingError

STATE = "state.json"
HISTORY = "history.csv"


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to. Losses are mean binary cross-entropies, the rest is in [0, 1]."""

    epoch: int
    learning_rate: float
    loss: float
    validation_loss: float
    validation_accuracy: float
    validation_auc: float
    seconds: float


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run after a whole epoch; all that is needed to continue a run that was killed."""

    config_digest: str
    split_digest: str
    learning_rate: float
    plateau_best: float
    plateau_wait: int
    checkpoint: str
    best_weights: str
    best_epoch: int
    history: tuple[EpochRecord, ...] = field(default=())
    git_revision: str = ""

    @property
    def epochs_done(self) -> int:
        """How many whole epochs the checkpoint holds."""
        return len(self.history)


@lru_cache(maxsize=1)
def git_revision() -> str:
    """The commit this code is at, with ``-dirty`` where it was changed since; empty where there is no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def member_folder(run: Path, number: int, count: int) -> Path:
    """Folder of one member of a run, counted from 1; a run of one member is its own."""
    return run if count == 1 else run / f"member-{number}"


def read_state(run: Path) -> RunState | None:
    """Read the state of a run.

    Parameters
    ----------
    run : Path
        The run's folder.

    Returns
    -------
    RunState or None
        None if no epoch is complete yet.

    Raises
    ------
    TrainingError
        If the state is there and cannot be understood, or a file it names is missing.
    """
    path = run / STATE
    if not path.exists():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        records = tuple(EpochRecord(**record) for record in fields.pop("history"))
        state = RunState(**fields, history=records)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} cannot be understood: train into an empty folder") from error
    for name in (state.checkpoint, state.best_weights):
        if not (run / name).is_file():
            raise TrainingError(f"{run} lacks its checkpoint {name}: train into an empty folder")
    return state


def write_state(run: Path, state: RunState) -> None:
    """Replace the state of a run in one step, then remove the files that it no longer names.

    Parameters
    ----------
    run : Path
        The run's folder; the checkpoint and the best weights that ``state`` names are there already.
    state : RunState
        The state of the run.
    """
    _replace(run / STATE, json.dumps(asdict(state), indent=1))
    with (run / HISTORY).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(EpochRecord.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(record) for record in state.history)
    named = {state.checkpoint, state.best_weights}
    for path in [*run.glob("epoch-*.keras"), *run.glob("best-*.weights.h5")]:
        if path.name not in named:
            path.unlink()


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
