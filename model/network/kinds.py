"""The networks that can be trained. They use only the Keras 3 API, so that any Keras backend runs them.

A network ends in the logit. The probability is ``sigmoid(logit)`` and is taken outside the network
in double precision: the loss from logits cannot overflow, and two engines can be compared where the
sigmoid is flat.

The residual network has no normalisation layers: its kernels are standardised instead (Brock et al.
2021, "Characterizing signal propagation to close the performance gap in unnormalized ResNets"). On a
CPU that more than doubles the training speed (331 against 145 films a second, bfloat16), a film's
answer depends on no moving statistics, and what is served is plain convolutions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from model.errors import ConfigError
from model.network.lite0 import GainConv2D, GainDepthwiseConv2D, lite0

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.config import NetworkSpec

NOTEBOOK_BLOCKS = ((32, 0.0), (64, 0.1), (64, 0.0), (128, 0.2), (256, 0.2))
"""Filters and dropout of each block of the reference network."""

RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))
"""Factor that gives a rectified standard normal variance 1."""

BRANCH_VARIANCE = 0.04
"""Variance that a residual branch is assumed to add (alpha squared, with alpha 0.2 as in the paper)."""

LOGIT = "logit"


@keras.saving.register_keras_serializable("auscult")
class StandardisedConv2D(layers.Conv2D):  # type: ignore[misc] # Keras has no types
    """A convolution whose kernel has mean 0 and variance 1 / fan-in per filter, times a gain that is learnt.

    Parameters
    ----------
    scale : float
        Constant factor of the kernel: the gain of the activation before it over its standard deviation.
    first_gain : float
        Initial value of the learnt gain; with 0 a residual branch starts without effect.
    **options
        As for ``keras.layers.Conv2D``.
    """

    def __init__(self, *args: Any, scale: float = 1.0, first_gain: float = 1.0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.scale = scale
        self.first_gain = first_gain

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the gain beside kernel and bias."""
        super().build(input_shape)
        self.gain = self.add_weight(
            name="gain", shape=(self.filters,), initializer=keras.initializers.Constant(self.first_gain)
        )

    def effective_kernel(self) -> Any:
        """The kernel as it is applied, float32 (rows, columns, channels in, filters)."""
        kernel = ops.cast(self.kernel, "float32")
        fan_in = math.prod(kernel.shape[:3])
        centred = kernel - ops.mean(kernel, axis=(0, 1, 2), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(0, 1, 2), keepdims=True)
        gain = ops.cast(self.gain, "float32") * self.scale
        return centred * ops.rsqrt(ops.maximum(variance * fan_in, 1e-4)) * gain

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the standardised kernel; Keras passes the raw one."""
        del kernel
        return super().convolution_op(inputs, ops.cast(self.effective_kernel(), inputs.dtype))

    def save_own_variables(self, store: Any) -> None:
        """Save the gain too; Keras saves only kernel and bias."""
        super().save_own_variables(store)
        store["gain"] = self.gain

    def load_own_variables(self, store: Any) -> None:
        """Load what ``save_own_variables`` saved."""
        super().load_own_variables(store)
        self.gain.assign(store["gain"])

    def get_config(self) -> dict[str, Any]:
        """Give the configuration from which Keras makes the layer again."""
        return {**super().get_config(), "scale": self.scale, "first_gain": self.first_gain}


def build_network(spec: NetworkSpec, input_size: int) -> keras.Model:
    """Build an untrained network.

    Parameters
    ----------
    spec : NetworkSpec
        Which network and how large.
    input_size : int
        Side of the square input in pixels.

    Returns
    -------
    keras.Model
        Input (n, input_size, input_size, 1) float32 in [0, 1], of any size but for the notebook's; output (n, 1)
        float32, the logit of pneumonia.

    Raises
    ------
    ConfigError
        If the kind of network is unknown.
    """
    if spec.kind == "notebook":
        return _notebook(input_size)
    if spec.kind == "residual":
        return _residual(spec)
    if spec.kind == "lite0":
        return lite0(spec)
    raise ConfigError(f"there is no network {spec.kind!r}; those that can be trained are notebook, residual and lite0")


def _notebook(input_size: int) -> keras.Model:
    film = keras.Input((input_size, input_size, 1), name="film")
    x = film
    for filters, dropout in NOTEBOOK_BLOCKS:
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(2, strides=2, padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(film, layers.Dense(1, name=LOGIT)(x), name="notebook")


def _residual(spec: NetworkSpec) -> keras.Model:
    """Build it for any input size; layers compute in the configuration's precision, weights stay float32."""
    make = _Maker("mixed_bfloat16" if spec.precision == "bfloat16" else "float32")
    film = keras.Input((None, None, 1), name="film")
    x = make(layers.Rescaling, 4.0, offset=-2.0)(film)  # mean about 0 and variance about 1
    x = make(StandardisedConv2D, spec.width, 5, strides=2, padding="same")(x)
    x = make(layers.MaxPooling2D, 2)(x)
    variance = 1.0
    for stage, blocks in enumerate(spec.blocks):
        for block in range(blocks):
            x, variance = _block(make, x, spec.width * 2**stage, variance, halve=stage > 0 and block == 0)
    x = make(layers.ReLU)(x)
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = layers.Dropout(spec.dropout, dtype="float32")(x)
    return keras.Model(film, layers.Dense(1, dtype="float32", name=LOGIT)(x), name="residual")


class _Maker:
    """Makes layers of one precision and leaves Keras' global policy as it is."""

    def __init__(self, policy: str) -> None:
        self._policy = policy

    def __call__(self, kind: type[keras.Layer], *args: Any, **options: Any) -> keras.Layer:
        return kind(*args, dtype=self._policy, **options)


def _block(make: _Maker, x: Any, filters: int, variance: float, *, halve: bool) -> tuple[Any, float]:
    """Add a residual branch; its convolutions divide by the signal's known variance, which replaces a normalisation."""
    active = make(layers.ReLU)(x)
    scale = RELU_GAIN / math.sqrt(variance)
    if halve:
        pooled = make(layers.AveragePooling2D, 2, padding="same")(active)
        x = make(StandardisedConv2D, filters, 1, scale=scale)(pooled)
        variance = 1.0
    strides = 2 if halve else 1
    branch = make(StandardisedConv2D, filters, 3, strides=strides, padding="same", scale=scale)(active)
    branch = make(layers.ReLU)(branch)
    branch = make(StandardisedConv2D, filters, 3, padding="same", scale=RELU_GAIN, first_gain=0.0)(branch)
    return make(layers.Add)([x, branch]), variance + BRANCH_VARIANCE


_PLAIN: dict[type[keras.Layer], type[keras.Layer]] = {
    StandardisedConv2D: layers.Conv2D,
    GainConv2D: layers.Conv2D,
    GainDepthwiseConv2D: layers.DepthwiseConv2D,
}
"""Our layers, and the layers of Keras that replace them in a served network."""


def join_members(members: Sequence[keras.Model], input_size: int) -> keras.Model:
    """Join members that were trained separately into the network that is served.

    Parameters
    ----------
    members : sequence of keras.Model
        Networks of any input size: residual ones, or lite0.
    input_size : int
        Side of the square input in pixels.

    Returns
    -------
    keras.Model
        Input (n, size, size, 1) float32 in [0, 1]; output (n, 1) float32, the mean of the members' logits. All layers
        are Keras' own and float32.
    """
    film = keras.Input((input_size, input_size, 1), name="film")
    logits = []
    for number, member in enumerate(members, start=1):
        served = keras.models.clone_model(
            member, input_tensors=film, clone_function=lambda layer, n=number: _served_layer(layer, n)
        )
        for trained, layer in zip(member.layers, served.layers, strict=True):
            layer.set_weights(_served_weights(trained))
        logits.append(served.output)
    # Explicitly float32: a training in bfloat16 may have changed the global policy.
    logit = layers.Average(dtype="float32", name=LOGIT)(logits) if len(logits) > 1 else logits[0]
    return keras.Model(film, logit, name="members")


def _served_layer(layer: keras.Layer, member: int) -> keras.Layer:
    """Copy a layer for serving: float32, with a unique name, and a plain convolution in place of one of ours."""
    config = {**layer.get_config(), "name": f"member_{member}_{layer.name}", "dtype": "float32"}
    plain = _PLAIN.get(type(layer))
    if plain is None:
        return type(layer).from_config(config)
    return plain.from_config({key: value for key, value in config.items() if key not in {"scale", "first_gain"}})


def _served_weights(layer: keras.Layer) -> list[Any]:
    if type(layer) in _PLAIN:
        return [ops.convert_to_numpy(layer.effective_kernel()), ops.convert_to_numpy(layer.bias)]
    return list(layer.get_weights())
