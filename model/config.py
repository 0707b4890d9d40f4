"""A training configuration: everything that decides what a network becomes, apart from the films."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from model.errors import ConfigError

_NOT_DECISIVE = frozenset({"name", "version", "threshold", "intended_use", "training_data"})
NAME = re.compile(r"[a-z][a-z0-9_]*")
VERSION = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class Augment:
    """How far each training film is turned, stretched, moved and mirrored at random."""

    rotation_degrees: float
    zoom: float
    shift: float
    horizontal_flip: bool


@dataclass(frozen=True, slots=True)
class PlateauRule:
    """When the learning rate falls: after ``patience`` epochs without better validation accuracy."""

    patience: int
    factor: float
    min_learning_rate: float


@dataclass(frozen=True, slots=True)
class IntendedUse:
    """Whom the network may judge. Ages are completed years, both ends inclusive."""

    age_years: tuple[int, int]
    projections: tuple[str, ...]
    body_part: str
    statement: str
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Where the training films come from and under which licence."""

    title: str
    citation: str
    licence: str


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """One training configuration, as read from a TOML file."""

    name: str
    version: str
    network: str
    input_size: int
    split_seed: int
    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    settle_films: int
    validation_share: float
    threshold: float
    keep_best: str
    augment: Augment
    plateau: PlateauRule
    intended_use: IntendedUse
    training_data: TrainingData

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of what decides the weights; names, texts and threshold may change."""
        decisive = {key: value for key, value in asdict(self).items() if key not in _NOT_DECISIVE}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def config_path(name: str) -> Path:
    """Path of a configuration: a file's path, or the name of one that ships with the package.

    Raises
    ------
    ConfigError
        If neither exists.
    """
    given = Path(name)
    if given.is_file():
        return given
    shipped = Path(str(resources.files("model"))) / "configs" / f"{name}.toml"
    if shipped.is_file():
        return shipped
    raise ConfigError(f"there is no training configuration {name!r}: give a TOML file or notebook-1")


def load_config(path: Path) -> TrainingConfig:
    """Read and check a training configuration.

    Parameters
    ----------
    path : Path
        A TOML file in the form of ``configs/notebook-1.toml``; every key is needed.

    Returns
    -------
    TrainingConfig

    Raises
    ------
    ConfigError
        If the file cannot be read, is no TOML, lacks a key, has an unknown one or a value out of range.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the training configuration {path} cannot be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the training configuration {path} is not valid TOML") from error
    try:
        config = _config(fields)
        _check(config)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the training configuration {path} lacks a key, or has one that is unknown or of another type"
        ) from error
    return config


def _config(fields: dict[str, Any]) -> TrainingConfig:
    use = dict(fields.pop("intended_use"))
    youngest, oldest = use.pop("age_years")
    return TrainingConfig(
        augment=Augment(**fields.pop("augment")),
        plateau=PlateauRule(**fields.pop("plateau")),
        intended_use=IntendedUse(
            age_years=(int(youngest), int(oldest)),
            projections=tuple(use.pop("projections")),
            limits=tuple(use.pop("limits")),
            **use,
        ),
        training_data=TrainingData(**fields.pop("training_data")),
        **fields,
    )


def _check(config: TrainingConfig) -> None:
    rules = {
        "name is a small word and version a number": bool(
            NAME.fullmatch(config.name) and VERSION.fullmatch(config.version)
        ),
        "input_size is at least 32": config.input_size >= 32,
        "epochs and batch_size are at least 1": min(config.epochs, config.batch_size) >= 1,
        "learning_rate is above 0": config.learning_rate > 0,
        "settle_films is at least 0": config.settle_films >= 0,
        "validation_share is between 0 and 1": 0 < config.validation_share < 1,
        "threshold is between 0 and 1": 0 < config.threshold < 1,
        "keep_best is loss or auc": config.keep_best in {"loss", "auc"},
        "plateau.patience is at least 1": config.plateau.patience >= 1,
        "plateau.factor is between 0 and 1": 0 < config.plateau.factor < 1,
        "augment.zoom and augment.shift are between 0 and 0.5": (
            0 <= config.augment.zoom <= 0.5 and 0 <= config.augment.shift <= 0.5
        ),
        "intended_use.age_years goes from young to old": (
            0 <= config.intended_use.age_years[0] <= config.intended_use.age_years[1]
        ),
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ConfigError("the training configuration must keep to this: " + "; ".join(broken))
