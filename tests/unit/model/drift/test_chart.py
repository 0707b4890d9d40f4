"""The picture of drift."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model.drift.chart import NOW, draw_drift
from model.drift.reference import NO_REFERENCE
from model.drift.verdict import compare
from tests.support.drift import FIRST, TRAINING, Simulated, one_after_the_other


@pytest.mark.parametrize("training", [TRAINING, NO_REFERENCE], ids=["training", "none"])
@pytest.mark.parametrize("number", [1, 28, 84])
def test_a_site_of_any_age_is_drawn(tmp_path, number, training):
    days = Simulated(np.random.default_rng(1)).days(number)
    path = tmp_path / "drift.png"
    draw_drift(
        path,
        "auscult-2, all devices",
        days,
        compare(days, training, since=FIRST, until=days[-1].day, window_days=28),
        training,
    )
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        colours = {colour for _, colour in picture.convert("RGB").getcolors(100_000) or []}
    assert tuple(bytes.fromhex(NOW[1:])) in colours


def test_a_device_whose_films_were_all_refused_is_drawn(tmp_path):
    rng = np.random.default_rng(1)
    days = one_after_the_other([(Simulated(rng, refused=1.0), 40)])
    path = tmp_path / "drift.png"
    draw_drift(path, "x", days, compare(days, TRAINING, since=FIRST, until=days[-1].day, window_days=28), TRAINING)
    assert path.stat().st_size > 1000
