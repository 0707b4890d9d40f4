from __future__ import annotations

import numpy as np
import pytest

from model.serving.difference import engine_difference


@pytest.mark.parametrize(
    ("litert", "keras", "logit", "is_small"),
    [
        pytest.param([0.0, -2.0], [0.00003, -2.0], 3e-5, True, id="within both limits"),
        pytest.param([0.0, -2.0], [0.0, -2.0002], 2e-4, False, id="a logit too far"),
        pytest.param([0.0, 30.0], [0.0, 31.0], 0.0, True, id="far apart where the sigmoid is flat"),
        pytest.param([0.0, 10.5], [0.0, 9.0], 0.0, False, id="a probability too far"),
    ],
)
def test_engines_agree_within_a_limit_of_the_logit_and_one_of_the_probability(litert, keras, logit, is_small):
    found = engine_difference(np.array(litert), np.array(keras))
    assert found.logit == pytest.approx(logit, abs=1e-9)
    assert found.is_small is is_small
