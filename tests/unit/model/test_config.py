from __future__ import annotations

import dataclasses

import pytest

from model.config import (
    Augment,
    CosineRule,
    Framing,
    NetworkSpec,
    OperatingPointRule,
    PlateauRule,
    Restyle,
    TrainingStage,
    config_path,
    load_config,
)
from model.errors import ConfigError

SHIPPED = config_path("notebook-1")
DEFAULT = config_path("auscult-1")


def changed(tmp_path, old: str, new: str, source=SHIPPED):
    text = source.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_shipped_configuration_is_that_of_the_notebook():
    config = load_config(SHIPPED)
    assert (config.name, config.version, config.network.kind, config.input_size) == ("notebook", "1", "notebook", 150)
    assert (config.epochs, config.batch_size, config.optimiser.learning_rate) == (12, 32, 1e-3)
    assert config.augment == Augment(rotation_degrees=30.0, zoom=0.2, shift=0.1, horizontal_flip=True)
    assert config.plateau == PlateauRule(patience=2, factor=0.3, min_learning_rate=1e-6)
    assert config.cosine is None
    assert config.intended_use.age_years == (1, 5)


def test_a_file_is_taken_by_its_path(tmp_path):
    path = changed(tmp_path, "\nseed = ", "\nseed = 1")
    assert config_path(str(path)) == path


def test_an_unknown_configuration_is_refused():
    with pytest.raises(ConfigError, match="no training configuration 'resnet'"):
        config_path("resnet")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 12", "epochs = 0", "epochs and batch_size are at least 1"),
        ("learning_rate = 1e-3", "learning_rate = 0.0", "learning_rate is above 0"),
        ("validation_share = 0.15", "validation_share = 1.0", "validation_share is between 0 and 1"),
        ('keep_best = "auc"', 'keep_best = "luck"', "keep_best is loss, auc or last"),
        ('name = "notebook"', 'name = "../up"', "name is a small word"),
        ("age_years = [1, 5]", "age_years = [5, 1]", "from young to old"),
        ("age_years = [1, 5]", "age_years = 5", "lacks a key, or has one that is unknown or of another type"),
        ("epochs = 12", "epoch = 12", "lacks a key, or has one that is unknown or of another type"),
        ("epochs = 12", 'epochs = "12"', "lacks a key, or has one that is unknown or of another type"),
        ("[augment]", "[augment", "not valid TOML"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_why(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        load_config(changed(tmp_path, old, new))


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml cannot be read"):
        load_config(tmp_path / "absent.toml")


def test_the_digest_follows_what_decides_the_weights_and_nothing_else():
    config = load_config(SHIPPED)
    assert dataclasses.replace(config, seed=config.seed + 1).digest != config.digest
    renamed = dataclasses.replace(config, name="other", version="9", threshold=0.7)
    assert renamed.digest == config.digest


def test_the_default_configuration_is_read_whole():
    config = load_config(DEFAULT)
    assert (config.name, config.network.kind, config.network.precision) == ("auscult", "residual", "bfloat16")
    assert config.network.blocks == (1, 1, 1, 1)
    assert config.members == config.folds == 4
    assert all(isinstance(stage, TrainingStage) for stage in config.stages)
    assert config.stages[-1].input_size == config.input_size
    assert isinstance(config.cosine, CosineRule)
    assert isinstance(config.restyle, Restyle)
    assert config.plateau is None
    assert config.threshold is None
    assert config.operating_point is not None
    assert config.operating_point == OperatingPointRule(sensitivity=0.97)
    assert config.keep_best == "last"
    assert 0 < config.optimiser.averaging < 1
    assert config.style_bounds == (0.0, 10.0)


def test_what_the_notebook_leaves_out_is_nothing():
    config = load_config(SHIPPED)
    assert (config.folds, config.patience, config.mixup, config.balance) == (0, 0, 0.0, False)
    assert config.style_bounds == (0.0,)
    assert config.members == 1
    assert config.restyle is None
    assert config.operating_point is None
    assert (config.optimiser.weight_decay, config.optimiser.clip_norm, config.optimiser.averaging) == (0, 0, 0)


def test_stages_say_how_large_the_input_is_in_each_epoch():
    config = dataclasses.replace(
        load_config(DEFAULT), stages=(TrainingStage(96, 2), TrainingStage(128, 1), TrainingStage(160, 3))
    )
    assert config.epochs == 6
    assert [config.size_of(epoch) for epoch in range(1, 7)] == [96, 96, 128, 160, 160, 160]
    assert config.input_size == 160


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("folds = 4", "folds = 1", "at least 2"),
        ("folds = 4", "folds = -2", "at least 2"),
        ("mixup = 0.2", "mixup = -0.2", "settle_films, patience and mixup are at least 0"),
        ("patience = 0", "patience = -1", "settle_films, patience and mixup are at least 0"),
        ("style_bounds = [0.0, 10.0]", "style_bounds = [0.5]", "style_bounds are 0"),
        ("style_bounds = [0.0, 10.0]", "style_bounds = []", "style_bounds are 0"),
        ("input_size = 112", "input_size = 64", "input_size is at least 96 where styles count"),
        ("width = 32", "width = 0", "network.width and network.blocks are at least 1"),
        ("blocks = [1, 1, 1, 1]", "blocks = [1, 0]", "network.width and network.blocks are at least 1"),
        ("dropout = 0.3", "dropout = 1.0", "network.dropout is from 0 to below 1"),
        ('precision = "bfloat16"', 'precision = "float16"', "network.precision is float32 or bfloat16"),
        ('kind = "adamw"', 'kind = "sgd"', "optimiser.kind is rmsprop or adamw"),
        ("weight_decay = 0.02", "weight_decay = -1.0", "weight_decay and clip_norm are at least 0"),
        ("averaging = 0.99", "averaging = 1.99", "optimiser.averaging is from 0 to below 1"),
        ("warm_up_epochs = 1", "warm_up_epochs = -1", "cosine.warm_up_epochs is at least 0"),
        ("[cosine]\nwarm_up_epochs = 1\n", "", "there is either plateau or cosine"),
        ("border = 0.3", "border = 1.3", "what restyle says is from 0 to 1"),
        ("border = 0.3", "", "lacks a key, or has one that is unknown"),
        ("[operating_point]\nsensitivity = 0.97\n", "", "there is either threshold or operating_point"),
        ("sensitivity = 0.97", "sensitivity = 1.0", "either a sensitivity between 0 and 1 or the rule 'even'"),
        ("sensitivity = 0.97", "", "either a sensitivity between 0 and 1 or the rule 'even'"),
        ("sensitivity = 0.97", 'sensitivity = 0.97\nrule = "even"', "either a sensitivity"),
        ("sensitivity = 0.97", 'rule = "odd"', "either a sensitivity"),
        ("balance = true", "balance = true\nthreshold = 0.5", "there is either threshold or operating_point"),
        ('kind = "residual"', 'kind = "residual"\ndepth = 3', "lacks a key, or has one that is unknown"),
    ],
)
def test_a_default_configuration_that_cannot_be_used_says_why(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        load_config(changed(tmp_path, old, new, DEFAULT))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("smallest = 0.75", "smallest = 0.4", "framing.smallest is at least 0.5"),
        ("largest = 1.5", "largest = 0.7", "framing.largest is not below it"),
        ("aspect = 0.55", "aspect = -0.1", "framing.aspect is from 0 to 1"),
        ("border = 0.3", "border = 1.3", "framing.border is from 0 to 1"),
        ("clahe = 0.15", "clahe = 1.5", "what restyle says is from 0 to 1"),
        ('start = "imagenet"', 'start = "mars"', "network.start is imagenet, and only for a lite0 network"),
        ('kind = "lite0"', 'kind = "residual"', "network.start is imagenet, and only for a lite0 network"),
        ('kind = "lite0"', 'kind = "lite0"\nprecision = "bfloat16"', "a lite0 network computes in float32"),
        ("[framing]", "[framed]", "lacks a key, or has one that is unknown"),
    ],
)
def test_a_framing_or_a_start_that_cannot_be_is_named(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        load_config(changed(tmp_path, old, new, config_path("auscult-2")))


def test_films_are_moved_by_one_rule_alone(tmp_path):
    both = "[augment]\nrotation_degrees = 1\nzoom = 0\nshift = 0\nhorizontal_flip = true\n\n[framing]"
    with pytest.raises(ConfigError, match="there is either augment or framing"):
        load_config(changed(tmp_path, "[framing]", both, config_path("auscult-2")))


def test_the_notebooks_network_is_made_for_one_size(tmp_path):
    stage = "[[stages]]\ninput_size = 96\nepochs = 1\n\n[[stages]]"
    with pytest.raises(ConfigError, match="the notebook's network has one stage"):
        load_config(changed(tmp_path, "[[stages]]", stage))


@pytest.mark.parametrize(
    "change",
    [
        {"folds": 5},
        {"mixup": 0.3},
        {"balance": False},
        {"style_bounds": (10.0,)},
        {"stages": (TrainingStage(112, 1),)},
        {"restyle": None},
        {"keep_best": "auc"},
        {"patience": 3},
        {"framing": Framing(0, 1, 1, 0, 0, horizontal_flip=False)},
        {"network": NetworkSpec("lite0", start="imagenet")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_the_weights_changes_the_digest(change):
    config = load_config(DEFAULT)
    assert dataclasses.replace(config, **change).digest != config.digest
    assert dataclasses.replace(config, operating_point=OperatingPointRule(0.5)).digest == config.digest


def test_the_rule_even_takes_the_place_of_a_sensitivity(tmp_path):
    text = config_path("auscult-1").read_text(encoding="utf-8").replace("sensitivity = 0.97", 'rule = "even"')
    path = tmp_path / "even.toml"
    path.write_text(text, encoding="utf-8")
    assert load_config(path).operating_point == OperatingPointRule(rule="even")
