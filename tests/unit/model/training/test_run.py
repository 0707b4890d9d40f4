from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from model.config import PlateauRule
from model.errors import TrainingError
from model.training.plateau import Plateau
from model.training.run import EpochRecord, RunState, git_revision, member_folder, read_state, write_state

RULE = PlateauRule(patience=2, factor=0.3, min_learning_rate=1e-6)


def rates(accuracies: list[float], start: float = 1e-3) -> list[float]:
    plateau, found = Plateau(start), []
    for accuracy in accuracies:
        plateau = plateau.after(accuracy, RULE)
        found.append(plateau.learning_rate)
    return found


def test_the_rate_falls_after_two_epochs_without_better_accuracy_and_starts_counting_again():
    assert rates([0.7, 0.7, 0.7, 0.7, 0.7]) == pytest.approx([1e-3, 1e-3, 3e-4, 3e-4, 9e-5])


def test_a_better_accuracy_starts_the_count_again():
    assert rates([0.7, 0.6, 0.8, 0.7, 0.7]) == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 3e-4])


def test_a_hair_better_is_not_better():
    assert rates([0.7, 0.70005, 0.70009]) == pytest.approx([1e-3, 1e-3, 3e-4])


def test_the_rate_does_not_fall_below_its_floor():
    assert rates([0.7, 0.7, 0.7], start=2e-6)[-1] == pytest.approx(1e-6)
    assert rates([0.7, 0.7, 0.7], start=5e-7)[-1] == pytest.approx(5e-7)


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' variables under NumPy 2
def test_the_rule_is_that_of_keras():
    import keras
    import numpy as np

    class Stub:
        """What the callback needs of a model: an optimiser with a rate."""

        optimizer = keras.optimizers.RMSprop(1e-3)

    accuracies = np.round(np.random.default_rng(4).uniform(0.7, 0.9, 40), 2).tolist()
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor="accuracy", patience=2, factor=0.3, min_lr=1e-6, mode="max", min_delta=1e-4
    )
    callback.set_model(Stub())
    callback.on_train_begin()
    theirs = []
    for epoch, accuracy in enumerate(accuracies):
        callback.on_epoch_end(epoch, {"accuracy": accuracy})
        theirs.append(float(Stub.optimizer.learning_rate))
    assert rates(accuracies) == pytest.approx(theirs)


def state(epochs: int, **changes) -> RunState:
    history = tuple(EpochRecord(epoch, 1e-3, 0.5, 0.4, 0.9, 0.95, 1.0) for epoch in range(1, epochs + 1))
    fields = {
        "config_digest": "c",
        "split_digest": "s",
        "learning_rate": 1e-3,
        "plateau_best": 0.9,
        "plateau_wait": 0,
        "checkpoint": f"epoch-{epochs:02d}.keras",
        "best_weights": "best-01.weights.h5",
        "best_epoch": 1,
        "history": history,
    }
    return RunState(**{**fields, **changes})


def files_of(run, checkpoint: str) -> None:
    (run / checkpoint).write_bytes(b"checkpoint")
    (run / "best-01.weights.h5").write_bytes(b"weights")


def test_a_run_without_a_whole_epoch_has_no_state(tmp_path):
    assert read_state(tmp_path) is None


def test_a_state_is_read_as_it_was_written_and_leftovers_are_swept(tmp_path):
    files_of(tmp_path, "epoch-01.keras")
    files_of(tmp_path, "epoch-02.keras")
    write_state(tmp_path, state(2))
    assert read_state(tmp_path) == state(2)
    assert state(2).epochs_done == 2
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"state.json", "history.csv", "epoch-02.keras", "best-01.weights.h5"}
    with (tmp_path / "history.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"history": [{"epoch": 1}]}'])
def test_a_state_that_cannot_be_understood_is_named(tmp_path, text):
    (tmp_path / "state.json").write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match="cannot be understood"):
        read_state(tmp_path)


def test_a_missing_checkpoint_is_named(tmp_path):
    files_of(tmp_path, "epoch-01.keras")
    write_state(tmp_path, state(1))
    (tmp_path / "epoch-01.keras").unlink()
    with pytest.raises(TrainingError, match=r"lacks its checkpoint epoch-01\.keras"):
        read_state(tmp_path)


def test_the_revision_is_the_commit_of_this_code(tool):
    git = [tool("git"), "-C", str(Path(__file__).parent)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        pytest.skip("this is no checkout of git")
    named = git_revision().removesuffix("-dirty") + "^{commit}"
    found = subprocess.run([*git, "rev-parse", named], capture_output=True, text=True, check=True)
    assert found.stdout == head.stdout
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode == 1
    assert git_revision().endswith("-dirty") == changed


def test_where_there_is_no_git_there_is_no_revision(monkeypatch):
    git_revision.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert git_revision() == ""
    git_revision.cache_clear()


def test_members_have_folders_of_their_own_and_one_alone_is_the_run(tmp_path):
    assert [member_folder(tmp_path, number, 2).name for number in (1, 2)] == ["member-1", "member-2"]
    assert member_folder(tmp_path, 1, 1) == tmp_path
