"""The outputs of a network that LiteRT serves: the logit, each member's logit, and the evidence at each place.

A member that ends in GlobalAveragePooling2D -> Dense is a sum over places: its class activation map (Zhou et al. 2016,
"Learning deep features for discriminative localization", arXiv:1512.04150) and the bias of its Dense layer are its
logit. HiResCAM and Grad-CAM (``model/explanation/explain.py``) both come down to that map there, so no gradient is
needed: one convolution of one filter on the member's last maps gives the evidence, and no TensorFlow is needed to
explain a film.

The outputs have names, because the converter does not keep their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

LOGIT = "logit"
"""The network's answer, (1, 1)."""

MEMBER_LOGITS = "member_logits"
"""The logit of each member, (1, members); their mean is the network's."""


def evidence_name(member: int) -> str:
    """The output with the map of a member, counted from 1: (1, rows, columns), in the unit of ``Explanation.maps``."""
    return f"evidence_{member}"


def with_terms(network: keras.Model) -> keras.Model:
    """Add the terms of a network's answer to its outputs.

    Parameters
    ----------
    network : keras.Model
        As it is served: flat and functional, of one input size, its output the logit (n, 1) of one member or the
        Average of several.

    Returns
    -------
    keras.Model
        The same layers; its output is a dictionary of ``logit`` (n, 1), ``member_logits`` (n, members) and, for each
        member, ``evidence_1`` and so on (n, rows, columns), all float32. What a map adds to the logit is its mean; the
        means and the mean of the members' biases are the logit. Where a member does not end in
        GlobalAveragePooling2D -> Dense the network is returned as it was, because no maps add up to the logit.
    """
    import keras
    from keras import layers

    makers = {
        id(layer.output): layer
        for layer in network.layers
        if isinstance(layer, (layers.Average, layers.Dense, layers.Dropout, layers.GlobalAveragePooling2D))
    }
    last = makers.get(id(network.output))
    logits = list(last.input) if isinstance(last, layers.Average) else [network.output]
    members = [_pooled(makers, logit) for logit in logits]
    outputs = {
        LOGIT: network.output,
        # One member needs no layer: its logit is that of the network.
        MEMBER_LOGITS: layers.Concatenate(dtype="float32", name=MEMBER_LOGITS)(logits)
        if len(logits) > 1
        else network.output,
    }
    for number, member in enumerate(members, start=1):
        if member is None:
            return network
        maps, weights = member
        name = evidence_name(number)
        # Explicitly float32: a training in bfloat16 may have changed the global policy.
        weigh = layers.Conv2D(1, 1, use_bias=False, dtype="float32", name=f"{name}_weights")
        places = weigh(maps)
        weigh.set_weights([weights[None, None] / len(members)])
        outputs[name] = layers.Reshape(places.shape[1:3], dtype="float32", name=name)(places)
    return keras.Model(network.input, outputs, name=network.name)


def _pooled(makers: dict[int, Any], logit: Any) -> tuple[Any, Any] | None:
    """Last maps behind a logit and their channels' weights (channels, 1); None where a member ends in another way."""
    import keras
    from keras import layers

    dense = makers.get(id(logit))
    if not isinstance(dense, layers.Dense) or dense.activation is not keras.activations.linear:
        return None
    features = dense.input
    while isinstance(dropout := makers.get(id(features)), layers.Dropout):
        features = dropout.input
    pool = makers.get(id(features))
    if not isinstance(pool, layers.GlobalAveragePooling2D):
        return None
    return pool.input, keras.ops.convert_to_numpy(dense.kernel)
