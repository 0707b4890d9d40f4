from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from model.augmentation.perturb import PERTURBATIONS, Role
from model.config import OperatingPointRule, config_path, load_config
from model.data.dataset import Picture
from model.errors import BundleError, ExportError, InputError
from model.labels import Label
from model.operating.calibration import UNCALIBRATED, Bands, fit_calibration
from model.operating.operating_point import FittedPoint, facts_at, fit_point, restated
from model.operating.stress_chart import draw_stress
from model.operating.stress_table import Stressed, numbered, read_stressed, stress_table, write_stressed
from model.statistics.metrics import auc


def stressed(shift: float = 0.0, films: int = 600) -> Stressed:
    """Logits whose second, fitting row is shifted one way and whose third, checking row by ``shift``."""
    rng = np.random.default_rng(5)
    targets = np.repeat([0.0, 1.0], films // 2)
    logits = rng.normal(4 * targets - 2, 1.2)
    return Stressed(
        ("as it is", "closer", "closer by 12 %"),
        (Role.FIT, Role.FIT, Role.CHECK),
        targets,
        np.arange(films) // 2,
        np.stack([logits, logits + 1.0, logits + shift]),
    )


def test_half_of_the_rows_check_and_framing_tone_and_sharpness_are_in_both_halves():
    fit, check = ({each.name for each in PERTURBATIONS if each.role is role} for role in Role)
    assert PERTURBATIONS[0].name == "as it is"
    assert abs(len(fit) - len(check)) <= 1
    assert {"top and bottom cropped", "closer", "black border", "gamma 0.7", "blurred", "CLAHE"} <= fit
    assert {"left and right cropped", "closer by 12 %", "side borders", "gamma 1.4", "noisy"} <= check
    assert len({each.name for each in PERTURBATIONS}) == len(PERTURBATIONS) == 19


@pytest.mark.parametrize("each", PERTURBATIONS, ids=lambda each: each.name)
def test_each_change_gives_a_film_back_and_leaves_the_original_alone(each):
    film = np.random.default_rng(1).integers(0, 256, (120, 90), dtype=np.uint8)
    before = film.copy()
    changed = each.change(film)
    assert (changed.dtype, changed.ndim) == (np.uint8, 2)
    assert np.array_equal(film, before)
    assert np.array_equal(changed, film) == (each.name == "as it is")


def test_crops_and_bands_have_the_size_that_is_said():
    film = np.full((100, 200), 9, dtype=np.uint8)
    sizes = {each.name: each.change(film).shape for each in PERTURBATIONS}
    assert sizes["top and bottom cropped"] == (80, 200)
    assert sizes["left and right cropped"] == (100, 160)
    assert sizes["closer by 12 %"] == (76, 152)
    assert sizes["side borders"] == (100, 240)
    assert sizes["as it is"] == sizes["black border"] == (100, 200)


def test_a_row_holds_up_to_the_loss_that_is_allowed_and_no_further():
    films = stressed(0.0)
    table = stress_table(films, UNCALIBRATED, 0.5)
    ill = films.targets == 1
    for row, logits in zip(table["rows"], films.logits, strict=True):
        called = logits >= 0
        assert row["sensitivity"] == called[ill].mean()
        assert row["specificity"] == (~called[~ill]).mean()
        assert row["sensitivity_loss"] == pytest.approx(table["rows"][0]["sensitivity"] - row["sensitivity"])
    assert [row["holds"] for row in table["rows"]] == [True, False, True]
    assert table["holds"] == {"fit": False, "check": True, "all": False}
    assert table["pooled_auc"]["fit"] == auc(np.tile(films.targets, 2), films.logits[:2].ravel())
    assert [at for at, *_ in table["rows"][0]["thresholds"]] == [0.3, 0.4, 0.5, 0.6, 0.7]


def test_errors_of_the_bands_are_counted_by_child():
    films = stressed()
    table = stress_table(films, UNCALIBRATED, 0.5, Bands(0.2, 0.8, {}))
    probabilities = UNCALIBRATED.probabilities(films.logits[0])
    wrong = {
        child for child, p, ill in zip(films.children, probabilities, films.targets, strict=True) if ill and p < 0.2
    }
    assert table["rows"][0]["low_given_pneumonia"] == len(wrong) / 150
    assert sum(table["rows"][0]["bands"].values()) == pytest.approx(1)


def test_logits_are_kept_without_names_and_read_again(tmp_path):
    films = stressed(0.3)
    write_stressed(tmp_path / "stress.npz", films)
    again = read_stressed(tmp_path / "stress.npz")
    assert (again.names, again.roles) == (films.names, films.roles)
    assert np.array_equal(again.children, films.children)
    assert np.allclose(again.logits, films.logits, atol=1e-5)
    (tmp_path / "stress.npz").write_bytes(b"no archive")
    with pytest.raises(BundleError, match="export the bundle again"):
        read_stressed(tmp_path / "stress.npz")


def test_children_are_numbers_and_two_kinds_with_one_number_are_two(tmp_path):
    pictures = [
        Picture(tmp_path / name, Label.PNEUMONIA, kind, "7")
        for name, kind in (("a", "virus"), ("b", "bacteria"), ("c", "virus"))
    ]
    assert list(numbered(pictures)) == [1, 0, 1]


def test_logits_that_do_not_belong_together_are_refused():
    films = stressed()
    with pytest.raises(InputError, match="each film in each row"):
        Stressed(films.names, films.roles, films.targets[1:], films.children, films.logits)
    with pytest.raises(InputError, match="finite"):
        Stressed(films.names, films.roles, films.targets, films.children, films.logits * np.inf)


def test_the_rule_even_fits_the_pooled_fit_rows_alone_and_calls_from_one_half():
    config = load_config(config_path("auscult-1"))
    config = dataclasses.replace(config, operating_point=OperatingPointRule(rule="even"))
    near, far = (fit_point(config, stressed(shift)) for shift in (0.0, 5.0))
    assert near == far  # the check row has no say
    assert near.threshold == 0.5
    assert near.calibration == fit_calibration(*stressed().pooled(Role.FIT))
    # Half of the films are shifted by 1, so the middle is.
    assert near.calibration is not None
    assert -near.calibration.intercept / near.calibration.slope == pytest.approx(0.5, abs=0.1)
    nothing = dataclasses.replace(config, operating_point=None, threshold=None)
    with pytest.raises(ExportError, match="names no threshold"):
        fit_point(nothing, stressed())
    assert fit_point(dataclasses.replace(nothing, threshold=0.65), stressed()) == FittedPoint(None, 0.65)


def test_predictive_values_follow_from_bayes_and_right_probabilities_have_slope_one():
    films = stressed()
    point = FittedPoint(fit_calibration(films.targets, films.logits[0]), 0.5)
    facts = facts_at(point, films.targets, films.logits[0], films, "a", "1")
    first = facts["calibration_check"][0]
    assert (first["slope"], first["intercept"]) == (pytest.approx(1, abs=0.02), pytest.approx(0, abs=0.02))
    row = next(row for row in facts["predictive_values"] if (row["films"], row["prevalence"]) == ("unchanged", 0.1))
    found, spared = facts["metrics"]["sensitivity"], facts["metrics"]["specificity"]
    assert row["ppv"] == pytest.approx(0.1 * found / (0.1 * found + 0.9 * (1 - spared)))
    assert row["npv"] == pytest.approx(0.9 * spared / (0.9 * spared + 0.1 * (1 - found)))
    assert facts["bands"]["bound"]["by"] == "child"


def test_a_probability_is_restated_for_a_prevalence():
    assert restated(np.array([0.0]), 0.05)[0] == pytest.approx(0.05)
    assert restated(np.array([1.3]), 0.5)[0] == pytest.approx(1 / (1 + np.exp(-1.3)))


def test_the_chart_is_a_picture_with_a_row_for_each_change(tmp_path):
    draw_stress(stress_table(stressed(2.0), UNCALIBRATED, 0.5), "drawn-1", tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as picture:
        assert picture.size == (1060, 110 + 3 * 30 + 60)
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 5
