from __future__ import annotations

import dataclasses

import pytest

from model.config import PlateauRule, config_path, load_config
from model.errors import ConfigError

SHIPPED = config_path("notebook-1")


def changed(tmp_path, old: str, new: str):
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_shipped_configuration_is_that_of_the_notebook():
    config = load_config(SHIPPED)
    assert (config.name, config.version, config.network.kind, config.input_size) == ("notebook", "1", "notebook", 150)
    assert (config.epochs, config.batch_size, config.optimiser.learning_rate) == (12, 32, 1e-3)
    assert dataclasses.astuple(config.augment) == (30.0, 0.2, 0.1, True)
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
