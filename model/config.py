"""A training configuration: everything that decides what a network becomes, apart from the films."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import asdict, astuple, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from model.data.spectrum import SMALLEST_PX
from model.errors import ConfigError

_NOT_DECISIVE = frozenset({"name", "version", "threshold", "operating_point", "intended_use", "training_data"})
NAME = re.compile(r"[a-z][a-z0-9_]*")
VERSION = re.compile(r"[0-9]+(\.[0-9]+)*")
EVEN = "even"
"""The rule of an operating point that favours neither error."""


@dataclass(frozen=True, slots=True)
class Augment:
    """How far each training film is turned, stretched, moved and mirrored at random."""

    rotation_degrees: float
    zoom: float
    shift: float
    horizontal_flip: bool


@dataclass(frozen=True, slots=True)
class Framing:
    """How each training film is framed at random (``framing``), instead of ``Augment``.

    ``smallest`` and ``largest`` are how large the film is shown, 1 being as it is; ``aspect`` is the natural logarithm
    of the most that its width is stretched against its height; ``border`` is how often, in [0, 1], borders are drawn.
    """

    rotation_degrees: float
    smallest: float
    largest: float
    aspect: float
    border: float
    horizontal_flip: bool


@dataclass(frozen=True, slots=True)
class Restyle:
    """How each training film's style is varied at random (``restyle``).

    ``tone`` is how far the tone curve goes, 1 being far; the others are how often, in [0, 1], a film gets another
    film's spectrum, a border, patches, a blur, or (if none) a sharpening, noise, and an equalised contrast (``clahe``).
    """

    spectrum: float
    border: float
    patches: float
    blur: float
    sharpen: float
    tone: float
    noise: float
    clahe: float = 0.0


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Which network and how large.

    ``notebook``; ``residual`` with its width and blocks per stage; ``lite0``, which may ``start`` from
    ``imagenet``'s weights (else from chance).
    """

    kind: str
    width: int = 32
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    dropout: float = 0.0
    precision: str = "float32"
    start: str = ""


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """Some epochs at one input size; a network learns faster if it sees small pictures first."""

    input_size: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Optimiser:
    """Which optimiser of Keras; 0 means without weight decay, clipping or averaging.

    ``averaging`` is the momentum of an exponential moving average of the weights, which then are what is kept.
    """

    kind: str
    learning_rate: float
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    averaging: float = 0.0


@dataclass(frozen=True, slots=True)
class PlateauRule:
    """When the learning rate falls: after ``patience`` epochs without better validation accuracy."""

    patience: int
    factor: float
    min_learning_rate: float


@dataclass(frozen=True, slots=True)
class CosineRule:
    """The learning rate rises over ``warm_up_epochs`` and then falls along half a cosine to a hundredth."""

    warm_up_epochs: float


@dataclass(frozen=True, slots=True)
class OperatingPointRule:
    """How calibration and threshold are fitted (``operating_point``): for a sensitivity, or by the rule ``even``."""

    sensitivity: float | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class IntendedUse:
    """The patients and films the network is made for. Ages are completed years, both ends inclusive."""

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
    split_seed: int
    seed: int
    batch_size: int
    settle_films: int
    validation_share: float
    keep_best: str
    network: NetworkSpec
    stages: tuple[TrainingStage, ...]
    optimiser: Optimiser
    intended_use: IntendedUse
    training_data: TrainingData
    augment: Augment | None = None
    framing: Framing | None = None
    folds: int = 0
    patience: int = 0
    mixup: float = 0.0
    balance: bool = False
    style_bounds: tuple[float, ...] = (0.0,)
    threshold: float | None = None
    operating_point: OperatingPointRule | None = None
    plateau: PlateauRule | None = None
    cosine: CosineRule | None = None
    restyle: Restyle | None = None

    @property
    def members(self) -> int:
        """How many networks are trained: one for each fold, or one."""
        return max(self.folds, 1)

    @property
    def input_size(self) -> int:
        """Side of the served network's square input in pixels."""
        return self.stages[-1].input_size

    @property
    def epochs(self) -> int:
        """Epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def size_of(self, epoch: int) -> int:
        """Side of the input in an epoch, counted from 1."""
        for stage in self.stages:
            if epoch <= stage.epochs:
                return stage.input_size
            epoch -= stage.epochs
        return self.input_size

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
    known = ", ".join(sorted(path.stem for path in shipped.parent.glob("*.toml")))
    raise ConfigError(f"there is no training configuration {name!r}: give a TOML file, or one of {known}")


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
        If the file cannot be read, is not TOML, lacks a key, has an unknown one or a value out of range.
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
    network = dict(fields.pop("network"))
    optional = {
        "operating_point": OperatingPointRule,
        "plateau": PlateauRule,
        "cosine": CosineRule,
        "augment": Augment,
        "framing": Framing,
        "restyle": Restyle,
    }
    tables: dict[str, Any] = {key: kind(**fields.pop(key)) for key, kind in optional.items() if key in fields}
    return TrainingConfig(
        style_bounds=tuple(fields.pop("style_bounds", (0.0,))),
        network=NetworkSpec(**{**network, "blocks": tuple(network.get("blocks", (1, 1, 1, 1)))}),
        stages=tuple(TrainingStage(**stage) for stage in fields.pop("stages")),
        optimiser=Optimiser(**fields.pop("optimiser")),
        intended_use=IntendedUse(
            age_years=(int(youngest), int(oldest)),
            projections=tuple(use.pop("projections")),
            limits=tuple(use.pop("limits")),
            **use,
        ),
        training_data=TrainingData(**fields.pop("training_data")),
        **tables,
        **fields,
    )


def _check(config: TrainingConfig) -> None:
    broken = [rule for rules in (_training_rules(config), _result_rules(config)) for rule, holds in rules if not holds]
    if broken:
        raise ConfigError("the training configuration must keep to this: " + "; ".join(broken))


def _training_rules(config: TrainingConfig) -> list[tuple[str, bool]]:
    network, optimiser, restyle = config.network, config.optimiser, config.restyle
    augment, framing = config.augment, config.framing
    shares = astuple(restyle) if restyle else ()
    return [
        ("there is a stage", bool(config.stages)),
        ("input_size is at least 32", all(stage.input_size >= 32 for stage in config.stages)),
        ("epochs and batch_size are at least 1", min(config.batch_size, *(s.epochs for s in config.stages), 1) >= 1),
        ("the notebook's network has one stage", network.kind != "notebook" or len(config.stages) == 1),
        ("network.width and network.blocks are at least 1", min(network.width, *network.blocks) >= 1),
        ("network.dropout is from 0 to below 1", 0 <= network.dropout < 1),
        ("network.precision is float32 or bfloat16", network.precision in {"float32", "bfloat16"}),
        ("optimiser.kind is rmsprop or adamw", optimiser.kind in {"rmsprop", "adamw"}),
        ("learning_rate is above 0", optimiser.learning_rate > 0),
        ("weight_decay and clip_norm are at least 0", min(optimiser.weight_decay, optimiser.clip_norm) >= 0),
        ("optimiser.averaging is from 0 to below 1", 0 <= optimiser.averaging < 1),
        (
            "settle_films, patience and mixup are at least 0",
            min(config.settle_films, config.patience, config.mixup) >= 0,
        ),
        ("there is either plateau or cosine", (config.plateau is None) != (config.cosine is None)),
        ("plateau.patience is at least 1", config.plateau is None or config.plateau.patience >= 1),
        ("plateau.factor is between 0 and 1", config.plateau is None or 0 < config.plateau.factor < 1),
        ("cosine.warm_up_epochs is at least 0", config.cosine is None or config.cosine.warm_up_epochs >= 0),
        ("there is either augment or framing", (config.augment is None) != (config.framing is None)),
        (
            "augment.zoom and augment.shift are between 0 and 0.5",
            augment is None or (0 <= augment.zoom <= 0.5 and 0 <= augment.shift <= 0.5),
        ),
        (
            "framing.smallest is at least 0.5, framing.largest is not below it, and framing.aspect is from 0 to 1",
            framing is None or (0.5 <= framing.smallest <= framing.largest and 0 <= framing.aspect <= 1),
        ),
        ("framing.border is from 0 to 1", framing is None or 0 <= framing.border <= 1),
        (
            "network.start is imagenet, and only for a lite0 network, or is left out",
            network.start == "" or (network.kind, network.start) == ("lite0", "imagenet"),
        ),
        ("a lite0 network computes in float32", network.kind != "lite0" or network.precision == "float32"),
        (
            f"input_size is at least {SMALLEST_PX} where styles count (style_bounds, restyle.spectrum)",
            not _needs_style(config) or min(stage.input_size for stage in config.stages) >= SMALLEST_PX,
        ),
        ("what restyle says is from 0 to 1", all(0 <= share <= 1 for share in shares)),
    ]


def _needs_style(config: TrainingConfig) -> bool:
    return any(config.style_bounds) or bool(config.restyle and config.restyle.spectrum)


def _result_rules(config: TrainingConfig) -> list[tuple[str, bool]]:
    youngest, oldest = config.intended_use.age_years
    point = config.operating_point
    return [
        (
            "name is a small word and version a number",
            bool(NAME.fullmatch(config.name) and VERSION.fullmatch(config.version)),
        ),
        ("validation_share is between 0 and 1", 0 < config.validation_share < 1),
        ("folds is 0 (one split by validation_share) or at least 2", config.folds == 0 or config.folds >= 2),
        ("keep_best is loss, auc or last", config.keep_best in {"loss", "auc", "last"}),
        (
            "style_bounds are 0 (styles do not count) or at least 1",
            bool(config.style_bounds) and all(bound == 0 or bound >= 1 for bound in config.style_bounds),
        ),
        ("there is either threshold or operating_point", (config.threshold is None) != (point is None)),
        ("threshold is between 0 and 1", config.threshold is None or 0 < config.threshold < 1),
        (
            f"operating_point has either a sensitivity between 0 and 1 or the rule {EVEN!r}",
            point is None
            or (point.rule == EVEN if point.sensitivity is None else not point.rule and 0 < point.sensitivity < 1),
        ),
        ("intended_use.age_years goes from young to old", 0 <= youngest <= oldest),
    ]
