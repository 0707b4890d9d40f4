"""Bundles and labelled films for tests of everything that needs a second model or a folder to measure on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from model.config import TrainingStage, config_path, load_config
from model.labels import Label
from model.preprocess import PREPROCESS_VERSION
from model.serving.bundle import Bundle, builtin_folder, derive, load_bundle
from model.serving.manifest import FILES, write_manifest
from model.statistics.evaluation import evaluate_probabilities
from model.statistics.sigmoid import sigmoid

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from model.config import TrainingConfig

TARGETS = (0, 0, 0, 1, 1, 1, 1, 1)
LOGITS = (-3.0, -1.0, 0.5, -0.25, 0.75, 1.5, 2.0, 4.0)
"""Validation logits of the bundle that is made by hand: at a threshold of 0.5, one of each is wrong."""


def shipped_bundle() -> Bundle:
    """The reference network as it ships."""
    return load_bundle(builtin_folder() / "notebook-1")


def second_bundle(folder: Path, *, version: str = "2", threshold: float = 0.9) -> Bundle:
    """The reference network at another operating point, in ``folder/notebook-<version>``."""
    out = folder / f"notebook-{version}"
    return derive(shipped_bundle(), out, name="notebook", version=version, threshold=threshold)


def residual_config() -> TrainingConfig:
    """The default configuration made small: two folds, of which the second weighs styles; two sizes of input."""
    config = load_config(config_path("auscult-1"))
    return dataclasses.replace(
        config,
        name="drawn",
        folds=2,
        batch_size=32,
        network=dataclasses.replace(config.network, width=8, blocks=(1, 1), dropout=0.1),
        stages=(TrainingStage(96, 2), TrainingStage(112, 3)),
        optimiser=dataclasses.replace(config.optimiser, learning_rate=2e-2, averaging=0.5),
    )


def manifest_by_hand(**changes: Any) -> dict[str, Any]:
    """The description of a bundle whose networks are no networks."""
    targets, logits = np.array(TARGETS, dtype=float), np.array(LOGITS)
    return {
        "format": 1,
        "name": "hand",
        "version": "1",
        "network": "notebook",
        "input_size": 32,
        "preprocess_version": PREPROCESS_VERSION,
        "labels": ["NORMAL", "PNEUMONIA"],
        "positive": "PNEUMONIA",
        "output": "logit",
        "threshold": 0.5,
        "calibration": None,
        "bands": None,
        "derived_from": None,
        "intended_use": {
            "age_years": [1, 5],
            "projections": ["AP", "PA"],
            "body_part": "CHEST",
            "statement": "For tests.",
            "limits": ["It is no network."],
        },
        "training_data": {
            "title": "Drawn films",
            "citation": "none",
            "licence": "none",
            "films": 16,
            "train_films": 8,
            "validation_films": 8,
            "folds": 0,
            "split_digest": "0" * 64,
        },
        "training": {
            "config": "hand-1",
            "config_digest": "0" * 64,
            "settings": {"seed": 1, "stages": [{"input_size": 32, "epochs": 1}]},
            "members": [],
        },
        "engine_difference": {"logit": 0.0, "probability": 0.0},
        "metrics": evaluate_probabilities(targets, sigmoid(logits), 0.5, "hand", "1").as_dict(),
        **changes,
    }


def bundle_by_hand(path: Path, **changes: Any) -> Path:
    """Write a whole bundle whose networks are no networks: enough for all that does not run one."""
    path.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (path / name).write_bytes(name.encode())
    rows = (f"{target},{logit}\n" for target, logit in zip(TARGETS, LOGITS, strict=True))
    (path / "validation.csv").write_text("target,logit\n" + "".join(rows), encoding="utf-8")
    write_manifest(path, manifest_by_hand(**changes))
    return path


def drawn_film(label: Label, seed: int, size: int = 48) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture that any network can tell from those of the other label: dark lungs, or white ones."""
    rng = np.random.default_rng([label.target, seed])
    film = rng.integers(90, 130, (size, size), dtype=np.uint8)
    lungs = rng.integers(170, 220) if label is Label.PNEUMONIA else rng.integers(10, 60)
    for left in (size // 8, size // 2 + size // 16):
        film[size // 6 : -size // 6, left : left + size * 5 // 16] = lungs
    return film


def drawn_folder(folder: Path, patients: int, films_each: int = 2) -> Path:
    """A folder of labelled films named as the public ones are."""
    for label in Label:
        (folder / label).mkdir(parents=True)
        for patient in range(1, patients + 1):
            for number in range(1, films_each + 1):
                name = f"IM-{patient:04d}-{number:04d}" if label is Label.NORMAL else f"person{patient}_virus_{number}"
                film = drawn_film(label, 100 * patient + number)
                Image.fromarray(film).save(folder / label / f"{name}.png")
    return folder
