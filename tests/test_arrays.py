"""Layers from arrays: those of PyTorch's layout are those of a network in JAX."""

import jax
import numpy as np
import pytest
from foreign import assert_recomputed

import mofn_jax as mofn

RNG = np.random.default_rng(0)
CLASSES = np.arange(20) % 3


def relu(x):
    return np.maximum(x, 0)


def same(layer, other):
    """Whether two layers are alike but for their names."""
    for field, one, two in zip(layer._fields, layer, other, strict=True):
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, two, err_msg=field)
        else:
            assert one == two


@pytest.mark.parametrize("positions", [(), (4,)])
def test_a_linear_layer_of_pytorch(positions):
    inputs = RNG.standard_normal((20, *positions, 6))
    kernel, bias = RNG.standard_normal((6, 5)), RNG.standard_normal(5)
    outputs = np.tanh(inputs @ kernel + bias)
    jax_layer = mofn.layer_from_arrays("fc", kernel, inputs, outputs, CLASSES, bias=bias)
    torch_layer = mofn.layer_from_arrays(
        "fc", kernel.T, inputs, outputs, CLASSES, bias=bias, layout="torch"
    )
    same(jax_layer, torch_layer)
    assert jax_layer.kind == "dense"
    assert_recomputed(torch_layer, np.tanh)


@pytest.mark.parametrize("padding", ["SAME", "VALID", 1, [2, 0], [(1, 0), (0, 2)]])
@pytest.mark.parametrize(("groups", "strides", "dilation"), [(1, 1, 1), (2, (2, 1), (1, 2))])
def test_a_convolution_of_pytorch(padding, groups, strides, dilation):
    inputs = RNG.standard_normal((20, 8, 9, 4)).astype(np.float32)
    kernel = RNG.standard_normal((3, 2, 4 // groups, 6)).astype(np.float32)
    pairs = padding
    if not isinstance(padding, str):
        pairs = [(1, 1), (1, 1)] if padding == 1 else [np.broadcast_to(p, 2) for p in padding]
        pairs = [tuple(map(int, pair)) for pair in pairs]
    outputs = relu(
        jax.lax.conv_general_dilated(
            inputs,
            kernel,
            np.broadcast_to(strides, 2).tolist(),
            pairs,
            rhs_dilation=np.broadcast_to(dilation, 2).tolist(),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )
    )
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    layer = mofn.layer_from_arrays("conv", kernel, inputs, outputs, CLASSES, **options)
    of_torch = mofn.layer_from_arrays(
        "conv",
        kernel.transpose(3, 2, 0, 1),
        inputs.transpose(0, 3, 1, 2),
        np.moveaxis(outputs, -1, 1),
        CLASSES,
        layout="torch",
        **options,
    )
    same(layer, of_torch)
    assert_recomputed(layer, relu)
    rules = mofn.explain_layer(of_torch, betas=[0.1], search="weight_order").at(beta=0.1)
    assert len(rules) == 6


def test_signs_turn_as_outputs_do():
    inputs, kernel = RNG.standard_normal((50, 6)), RNG.standard_normal((6, 4))
    sums = inputs @ kernel
    outputs = np.stack([sums[:, 0], relu(-sums[:, 1]), np.sin(3 * sums[:, 2]), 0 * sums[:, 3]], 1)
    layer = mofn.layer_from_arrays("odd", kernel, inputs, outputs, np.arange(50) % 2)
    np.testing.assert_array_equal(layer.weights, kernel * [1, -1, 1, 1])
    assert layer.note == "the activation of 1 of 4 units is not monotone in the sum"


def test_a_softmax_layer_of_fewer_units_than_classes():
    inputs, kernel = RNG.standard_normal((20, 6)), RNG.standard_normal((6, 2))
    with pytest.raises(ValueError, match=r"predictions: expected labels in 0..1"):
        mofn.layer_from_arrays("head", kernel, inputs, inputs @ kernel, CLASSES, kind="softmax")


def test_a_softmax_layer():
    inputs, kernel = RNG.standard_normal((20, 6)), RNG.standard_normal((6, 3))
    logits = inputs @ kernel
    layer = mofn.layer_from_arrays(
        "head", kernel.T, inputs, logits, logits.argmax(1), layout="torch", kind="softmax"
    )
    rules = mofn.explain_layer(layer, betas=[0.0]).at(beta=0.0)
    assert [rule.unit_threshold for rule in rules] == [None] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "tf"}, "layout: 'tf' is not known"),
        ({"kind": "conv"}, "kind: 'conv' is not known"),
        ({"weights": np.ones((5, 6))}, "weights: of 5 inputs in 1 groups and 6 units"),
        ({"weights": np.ones(6)}, r"weights: expected shape \[any, any\], got \[6\]"),
        ({"weights": np.ones((3, 6, 6))}, "inputs: expected 3 axes with a window of"),
        ({"outputs": np.ones((20, 5))}, r"outputs: expected positions \[\] and 6 units, got \[5\]"),
        ({"outputs": np.ones((19, 6))}, r"outputs: expected shape \[20, any\], got \[19, 6\]"),
        ({"inputs": np.full((20, 6), np.nan)}, "inputs: holds NaN"),
        ({"predictions": CLASSES[1:]}, r"predictions: expected shape \[20\]"),
        ({"predictions": CLASSES - 1}, "predictions: expected labels in 0"),
        ({"bias": np.ones(5)}, r"bias: expected shape \[6\]"),
        ({"groups": 0}, "groups: expected an integer of at least 1"),
        ({"layout": "torch"}, "outputs: they neither rise nor fall with the sums"),
    ],
)
def test_bad_arrays(change, message):
    inputs, kernel = RNG.standard_normal((20, 6)), RNG.standard_normal((6, 6))
    given = {
        "weights": kernel,
        "inputs": inputs,
        "outputs": relu(inputs @ kernel),
        "predictions": CLASSES,
    }
    with pytest.raises(ValueError, match=message):
        mofn.layer_from_arrays("fc", **(given | change))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"strides": (1, 1, 1)}, "strides: expected a number for each of 2 axes"),
        ({"dilation": 0}, "dilation: expected an integer of at least 1"),
        ({"padding": "CIRCULAR"}, "padding: 'CIRCULAR' is not known"),
        ({"padding": [1, (1, 2)]}, "padding: expected integers from 0, one for each of 2 axes"),
        ({"padding": -1}, "padding: expected integers from 0, one for each of 2 axes or two"),
        ({"strides": 2}, r"outputs: expected positions \[3, 3\] and 2 units, got \[5, 5, 2\]"),
    ],
)
def test_bad_convolutions(option, message):
    images, kernel = np.ones((20, 7, 7, 1)), np.ones((3, 3, 1, 2))
    with pytest.raises(ValueError, match=message):
        mofn.layer_from_arrays("conv", kernel, images, np.ones((20, 5, 5, 2)), CLASSES, **option)
