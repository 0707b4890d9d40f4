"""EfficientNet-Lite0 in Keras 3, from ImageNet's weights, for one grey channel and one logit.

Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks"; "Lite" has neither squeeze
and excitation nor swish, but ReLU6.

The batch normalisation of the original is left out: on a few thousand films of two labels its statistics would depend
on the label. Instead each filter has a gain and a bias, which are learnt. The gain multiplies the kernel, not the maps,
which is less work, and the served network has plain convolutions only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from model.config import NetworkSpec

STEM, HEAD = 32, 1280
EPSILON = 1e-3
"""What the original adds to a variance before it divides by its root."""

MEAN, DEVIATION = 127 / 255, 128 / 255
"""Mean and divisor by which the original normalises grey in [0, 1]."""


class Block(NamedTuple):
    """An inverted residual block: its kernel, its stride, how much it widens, its filters."""

    kernel: int
    strides: int
    expansion: int
    filters: int


BLOCKS = (
    Block(3, 1, 1, 16),
    Block(3, 2, 6, 24), Block(3, 1, 6, 24),
    Block(5, 2, 6, 40), Block(5, 1, 6, 40),
    Block(3, 2, 6, 80), Block(3, 1, 6, 80), Block(3, 1, 6, 80),
    Block(5, 1, 6, 112), Block(5, 1, 6, 112), Block(5, 1, 6, 112),
    Block(5, 2, 6, 192), Block(5, 1, 6, 192), Block(5, 1, 6, 192), Block(5, 1, 6, 192),
    Block(3, 1, 6, 320),
)  # fmt: skip


@keras.saving.register_keras_serializable("auscult")
class GainConv2D(layers.Conv2D):  # type: ignore[misc] # Keras has no types
    """A convolution with a gain of each filter; options as for ``keras.layers.Conv2D``."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the gain beside kernel and bias."""
        super().build(input_shape)
        self.gain = self.add_weight(name="gain", shape=(self.filters,), initializer="ones")

    def effective_kernel(self) -> Any:
        """The kernel as it is applied (rows, columns, channels in, filters)."""
        return self.kernel * self.gain

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the kernel times its gain; Keras passes the raw one."""
        del kernel
        return super().convolution_op(inputs, self.effective_kernel())

    def save_own_variables(self, store: Any) -> None:
        """Save the gain too; Keras saves only kernel and bias."""
        super().save_own_variables(store)
        store["gain"] = self.gain

    def load_own_variables(self, store: Any) -> None:
        """Load what ``save_own_variables`` saved."""
        super().load_own_variables(store)
        self.gain.assign(store["gain"])


@keras.saving.register_keras_serializable("auscult")
class GainDepthwiseConv2D(layers.DepthwiseConv2D):  # type: ignore[misc] # Keras has no types
    """A convolution of each channel by itself, with a gain; options as for ``keras.layers.DepthwiseConv2D``."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the gain beside kernel and bias."""
        super().build(input_shape)
        self.gain = self.add_weight(name="gain", shape=(self.kernel.shape[2],), initializer="ones")

    def effective_kernel(self) -> Any:
        """The kernel as it is applied (rows, columns, channels, 1)."""
        return self.kernel * ops.expand_dims(self.gain, -1)

    def call(self, inputs: Any) -> Any:
        """Convolve with the kernel times its gain."""
        maps = ops.depthwise_conv(inputs, self.effective_kernel(), strides=self.strides, padding=self.padding)
        return ops.add(maps, self.bias)


def lite0(spec: NetworkSpec) -> keras.Model:
    """Build the network with random weights.

    Parameters
    ----------
    spec : NetworkSpec
        Its ``dropout`` is used.

    Returns
    -------
    keras.Model
        Input (n, size, size, 1) float32 in [0, 1] of any size; output (n, 1) float32, a logit.
    """
    film = keras.Input((None, None, 1), name="film")
    x = layers.Rescaling(1 / DEVIATION, offset=-MEAN / DEVIATION)(film)
    x = _active(GainConv2D(STEM, 3, strides=2, padding="same", name="stem")(x))
    for number, block in enumerate(BLOCKS):
        x = _block(x, block, f"block_{number}")
    x = _active(GainConv2D(HEAD, 1, name="head")(x))
    x = layers.Dropout(spec.dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(film, layers.Dense(1, name="logit")(x), name="lite0")


def _active(x: Any) -> Any:
    return layers.ReLU(max_value=6.0)(x)


def _block(x: Any, block: Block, name: str) -> Any:
    channels = x.shape[-1]
    y = x
    if block.expansion > 1:
        y = _active(GainConv2D(channels * block.expansion, 1, name=f"{name}_expand")(y))
    depthwise = GainDepthwiseConv2D(block.kernel, strides=block.strides, padding="same", name=f"{name}_depthwise")
    y = GainConv2D(block.filters, 1, name=f"{name}_project")(_active(depthwise(y)))
    return layers.Add()([x, y]) if block.strides == 1 and channels == block.filters else y


def start_from(network: keras.Model, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Give all layers but the last ImageNet's weights.

    Parameters
    ----------
    network : keras.Model
        What ``lite0`` built; changed in place. Its single channel stands for three equal ones.
    tensors : mapping of str to ndarray of float32
        What ``start_weights.imagenet_lite0`` read.
    """
    for name, convolution, normalisation in _names():
        layer = network.get_layer(name)
        kernel = tensors[f"{convolution}.weight"].transpose(2, 3, 1, 0)
        if name == "stem":
            kernel = kernel.sum(axis=2, keepdims=True)
        if isinstance(layer, GainDepthwiseConv2D):
            kernel = kernel.transpose(0, 1, 3, 2)
        gain = tensors[f"{normalisation}.weight"] / np.sqrt(tensors[f"{normalisation}.running_var"] + EPSILON)
        bias = tensors[f"{normalisation}.bias"] - tensors[f"{normalisation}.running_mean"] * gain
        layer.kernel.assign(kernel)
        layer.gain.assign(gain)
        layer.bias.assign(bias)


def _names() -> Iterator[tuple[str, str, str]]:
    """For each layer its name here, and the names of its convolution and its normalisation in PyTorch's table."""
    yield "stem", "_conv_stem", "_bn0"
    for number, block in enumerate(BLOCKS):
        if block.expansion > 1:
            yield f"block_{number}_expand", f"_blocks.{number}._expand_conv", f"_blocks.{number}._bn0"
        yield f"block_{number}_depthwise", f"_blocks.{number}._depthwise_conv", f"_blocks.{number}._bn1"
        yield f"block_{number}_project", f"_blocks.{number}._project_conv", f"_blocks.{number}._bn2"
    yield "head", "_conv_head", "_bn1"
