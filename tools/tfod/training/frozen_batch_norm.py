"""Makes batch norm that is not trained a part of the convolution before it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tfod.upstream import internals

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.core.model import DetectionModel


def fold_frozen_batch_norm(model: DetectionModel) -> None:
    """Makes layers with frozen batch norm use its moving averages, which then stay as they are.

    Frozen is batch norm of which no variable is trained, and all of a model with
    `freeze_batchnorm`. It multiplies and shifts each channel by a constant. The constants are
    applied to the kernel and the bias of the convolution before it instead of its whole output,
    which saves reading and writing the largest tensors of a step. The variables of the model stay.

    Source: `FrozenBatchNorm2d` of Detectron2 and torchvision; folding as in Jacob et al. 2018,
    "Quantization and Training of Neural Networks", 3.2.
    """
    for layer in model.submodules:
        if not internals.is_frozen_batch_norm(layer):
            continue
        convolution = _foldable_convolution(layer)
        if convolution is None:
            layer.call = partial(_normalize, layer)
        else:
            convolution.call = partial(_convolve_and_normalize, convolution, layer)
            layer.call = _unchanged


def _foldable_convolution(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
    """Returns the convolution that feeds only this layer and has no activation, or None."""
    import tensorflow as tf

    if len(layer.inbound_nodes) != 1:  # layers of a model that is not functional have none
        return None
    source = layer.inbound_nodes[0].inbound_layers
    # A DepthwiseConv2D is no Conv2D, but a SeparableConv2D or a Conv2DTranspose is one.
    if type(source) not in (tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D):
        return None
    is_linear = source.activation in (None, tf.keras.activations.linear)
    return source if is_linear and len(source.outbound_nodes) == 1 else None


def _normalize(
    batch_norm: tf.keras.layers.Layer, inputs: tf.Tensor, training: bool | None = None
) -> tf.Tensor:
    return type(batch_norm).call(batch_norm, inputs, training=False)


def _convolve_and_normalize(
    convolution: tf.keras.layers.Layer, batch_norm: tf.keras.layers.Layer, inputs: tf.Tensor
) -> tf.Tensor:
    import tensorflow as tf

    scale = tf.math.rsqrt(batch_norm.moving_variance + batch_norm.epsilon)
    if batch_norm.scale:
        scale *= batch_norm.gamma
    offset = -batch_norm.moving_mean * scale
    if batch_norm.center:
        offset += batch_norm.beta
    if convolution.use_bias:
        offset += convolution.bias * scale
    strides, padding = convolution.strides, convolution.padding.upper()
    dilations = convolution.dilation_rate
    if isinstance(convolution, tf.keras.layers.DepthwiseConv2D):
        kernel = convolution.depthwise_kernel
        kernel = kernel * tf.reshape(scale, kernel.shape[2:])
        outputs = tf.nn.depthwise_conv2d(
            inputs, kernel, (1, *strides, 1), padding, dilations=dilations
        )
    else:
        kernel = convolution.kernel * scale
        outputs = tf.nn.conv2d(inputs, kernel, strides, padding, dilations=dilations)
    return tf.nn.bias_add(outputs, offset)


def _unchanged(inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
    return inputs
