"""What an export measures of maps of evidence: whether the engines agree, and which pass the tests of ``sanity``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import ExportError
from model.explanation.explain import Tapped, by_occlusion
from model.explanation.sanity import delete, randomise
from model.labels import Label, Method
from model.preprocess import to_input
from model.serving.engine import LiteRtEngine, load_network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from model.data.dataset import Picture
    from model.explanation.explain import Explanation
    from model.serving.engine import NetworkFiles

FILMS = 64
"""Films that are covered in part; a network is run 20 times for each."""

TOGETHER = 8
"""Films that are explained at a time: gradients keep all that a network computes in memory. So many are explained
again for each layer that is randomised."""

SHARES = (0.1, 0.2)
"""How much of a film is covered."""

QUARTERS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the layers, from the top, after which the maps are reported."""

LEAST_RATIO, LEAST_FURTHER = 3.0, 17 / 24
"""A map shows where the evidence is if covering it lowers the logit this many times as far as covering as much
elsewhere, and further on this share of the films (the sign test's 5 % for 24 films)."""

MAX_MAP_DIFFERENCE = 1e-3
"""By how much two engines' maps may differ, as a share of a map's largest evidence where that is above one logit: a
thousandth cannot be seen. A map is a sum of a thousand channels that cancel each other, in float32."""


def measure_trust(
    files: NetworkFiles, pictures: Sequence[Picture], reader: Callable[[Path], NDArray[np.uint8]]
) -> dict[str, Any] | None:
    """Test the maps of a network that is being exported, on some films with pneumonia.

    Deletion and randomisation ask whether the maps follow the network, not whether the network is right, so films on
    which it was trained will do.

    Parameters
    ----------
    files : NetworkFiles
        The network for both engines.
    pictures : sequence of Picture
        Films to choose from; the same films give the same choice, in whatever order they come.
    reader : callable
        Gives the grey film of a path.

    Returns
    -------
    dict or None
        As the manifest keeps it under ``explanation``; None where no film shows pneumonia.

        ``method`` (``explain.Method``: HiResCAM if its maps tell where the evidence lies, else occlusion), ``films``,
        ``deletion`` (for each ``share`` that was covered: mean ``fall`` of the logit, mean ``elsewhere``, and in which
        share of the films the first was ``further``), ``passed_over`` (the same of HiResCAM where occlusion takes its
        place, else None), ``randomisation`` (``films``, ``layers``, and ``steps`` with the share of layers that were
        randomised, ``spearman`` and ``structure``), ``map_difference`` (the largest between LiteRT and Keras, as
        ``MAX_MAP_DIFFERENCE`` counts; None where LiteRT has no maps).

    Raises
    ------
    ExportError
        If the engines' maps differ by more than ``MAX_MAP_DIFFERENCE``.
    """
    ill = sorted({picture for picture in pictures if picture.label is Label.PNEUMONIA})
    if not ill:
        return None
    chosen = np.random.default_rng(0).permutation(len(ill))[:FILMS]
    inputs = np.stack([to_input(reader(ill[number].path), files.input_size) for number in chosen])
    network, engine = load_network(files), LiteRtEngine(files)
    tapped = Tapped(network, files.label)
    explained = [
        found for start in range(0, len(inputs), TOGETHER) for found in tapped.explain(inputs[start : start + TOGETHER])
    ]
    deletion, passed_over, method = _deletion(engine, inputs, explained), None, Method.HIRESCAM
    few = inputs[:TOGETHER]
    explain_few = partial(tapped.explain, few)
    if not _tells_where(deletion):
        passed_over, method = deletion, Method.OCCLUSION
        deletion = _deletion(engine, inputs, by_occlusion(engine.logits, inputs))
        explain_few = partial(by_occlusion, _compiled(network), few)
    steps = randomise(
        network,
        lambda: [found.over(few.shape[1:3]).astype(np.float64) for found in explain_few()],
        np.random.default_rng(0),
        QUARTERS,
    )
    return {
        "method": method.value,
        "films": len(inputs),
        "deletion": deletion,
        "passed_over": passed_over,
        "randomisation": {
            "films": len(few),
            "layers": sum(bool(layer.weights) for layer in network.layers),
            "steps": [
                {"share": share, "spearman": step.spearman, "structure": step.structure}
                for share, step in zip(QUARTERS, steps, strict=True)
            ],
        },
        "map_difference": _map_difference(engine, inputs, explained) if engine.has_terms else None,
    }


def _compiled(network: keras.Model) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """The network's logits by a compiled graph, several times as fast as eager calls; changed weights take effect."""
    import tensorflow as tf

    run = tf.function(lambda inputs: network(inputs, training=False))
    return lambda inputs: np.asarray(run(tf.constant(inputs)), dtype=np.float64)[:, 0]


def _deletion(
    engine: LiteRtEngine, inputs: NDArray[np.float32], explained: Sequence[Explanation]
) -> list[dict[str, float]]:
    evidence = np.stack([found.over(inputs.shape[1:3]) for found in explained])
    rows = []
    for share in SHARES:
        fall = delete(engine.logits, inputs, evidence, share, np.random.default_rng(0))
        rows.append(
            {
                "share": share,
                "fall": float(fall.telling.mean()),
                "elsewhere": float(fall.random.mean()),
                "further": float((fall.telling > fall.random).mean()),
            }
        )
    return rows


def _tells_where(deletion: Sequence[Mapping[str, float]]) -> bool:
    return all(
        row["fall"] > LEAST_RATIO * abs(row["elsewhere"]) and row["further"] >= LEAST_FURTHER for row in deletion
    )


def _map_difference(engine: LiteRtEngine, inputs: NDArray[np.float32], explained: Sequence[Explanation]) -> float:
    largest = 0.0
    for terms, wanted in zip(engine.terms(inputs), explained, strict=True):
        for mine, its in zip(terms.maps, wanted.maps, strict=True):
            largest = max(largest, float(np.abs(mine - its).max() / max(1.0, float(np.abs(its).max()))))
    if not largest <= MAX_MAP_DIFFERENCE:
        raise ExportError(
            f"the maps of LiteRT and Keras differ by {largest:.1e} of the largest evidence: this network cannot be "
            "explained by both"
        )
    return largest
