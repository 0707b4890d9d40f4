"""Whether the maps of the shipped networks deserve trust, on real films: Adebayo's randomisation and Petsiuk's deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dicom_io.film import film_of_picture
from model.bundle import Bundle, builtin_folder, load_bundle
from model.engine import load_network
from model.explain import Tapped
from model.manifest import MANIFEST
from model.preprocess import to_input
from model.sanity import delete, randomise

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.data,
    pytest.mark.tensorflow,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # Keras' variables under NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
FILMS = 24


@pytest.fixture(scope="module", params=sorted(path.parent.name for path in builtin_folder().glob(f"*/{MANIFEST}")))
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """Each bundle that ships."""
    return load_bundle(builtin_folder() / request.param)


@pytest.fixture(scope="module")
def network(bundle: Bundle) -> Any:
    return load_network(bundle)


@pytest.fixture(scope="module")
def inputs(test_data: Path, bundle: Bundle) -> np.ndarray:
    """Inputs of PNEUMONIA films, spread over the folder."""
    paths = sorted((test_data / "chest_xray" / "train" / "PNEUMONIA").glob("*.jpeg"))
    chosen = paths[:: len(paths) // FILMS][:FILMS]
    return np.stack([to_input(film_of_picture(path).pixels, bundle.input_size) for path in chosen])


def logits_of(network: Any, inputs: np.ndarray) -> np.ndarray:
    answers = network(inputs, training=False)
    return np.asarray(answers["logit"] if isinstance(answers, dict) else answers, dtype=float)[:, 0]


def edges(inputs: np.ndarray) -> list[np.ndarray]:
    """What an edge detector marks: a map that looks telling and knows nothing of the network."""
    return [np.hypot(*np.gradient(film[..., 0].astype(float)))[::15, ::15] for film in inputs]


def test_the_maps_go_when_the_network_forgets(network: Any, inputs: np.ndarray) -> None:
    tapped, films = Tapped(network, "shipped"), inputs[:10]
    before = logits_of(network, films)
    members = len(tapped.explain(films)[0].maps)
    steps = randomise(
        network,
        lambda: [found.over((32, 32)).astype(np.float64) for found in tapped.explain(films)],
        np.random.default_rng(1),
    )
    # Every member's last three layers have forgotten, and so on down to the first convolution. Fewer are not enough for
    # several members: as long as one of them remembers, so does a part of the map.
    for step in steps[3 * members :]:
        assert step.spearman < 0.5, step
        assert step.structure < 0.5, step
    assert np.mean([step.spearman for step in steps[3 * members :]]) < 0.25
    assert logits_of(network, films) == pytest.approx(before, abs=1e-5), "the weights are put back"


def test_the_maps_of_an_edge_detector_would_not_go(network: Any, inputs: np.ndarray) -> None:
    films = inputs[:4]
    before = logits_of(network, films)
    seen: list[float] = []

    def maps_of() -> list[np.ndarray]:
        seen.append(float(np.abs(logits_of(network, films) - before).max()))
        return edges(films)

    steps = randomise(network, maps_of, np.random.default_rng(1))
    assert min(step.spearman for step in steps) > 0.99
    assert min(step.structure for step in steps) > 0.99
    assert min(seen[1:]) > 0.1, "the network itself has forgotten"


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_covering_what_tells_most_lowers_the_logit_more_than_covering_as_much_elsewhere(
    network: Any, inputs: np.ndarray, share: float
) -> None:
    size = inputs.shape[1]
    evidence = np.stack([found.over((size, size)) for found in Tapped(network, "shipped").explain(inputs)])
    fall = delete(lambda films: logits_of(network, films), inputs, evidence, share, np.random.default_rng(1))
    assert fall.telling.mean() > 3 * abs(fall.random.mean())
    # 17 of 24 by chance: p = 0.03 (sign test). Measured: notebook-1 22 at least, auscult-1 18 and 20.
    assert (fall.telling > fall.random).mean() >= 17 / 24
