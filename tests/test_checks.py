"""Checks of arguments: what each refuses, by name, and what it hands back."""

import jax.numpy as jnp
import numpy as np
import pytest

from mofn_jax import checks


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2), complex), "x: expected real numbers, got dtype complex128"),
        (np.zeros((2, 2), [("a", "f4")]), "x: expected real numbers, got dtype"),
        (np.zeros((2, 2), "V4"), "x: expected real numbers, got dtype"),
        (np.array([["a"]]), "x: expected real numbers, got dtype"),
        (np.zeros((2, 3)), r"x: expected shape \[any, 2\], got \[2, 3\]"),
        (np.zeros(2), r"x: expected shape \[any, 2\], got \[2\]"),
        (np.zeros((0, 2)), "x: has no elements"),
        (np.ma.masked_invalid([[0, np.nan]]), "x: holds NaN"),
        (np.array([[0, np.inf]], np.float16), "x: holds NaN or infinity"),
    ],
)
def test_a_matrix_is_real_finite_and_of_its_shape(array, message):
    with pytest.raises(ValueError, match=message):
        checks.matrix("x", array, [None, 2])


def test_a_matrix_keeps_its_precision_but_for_what_numpy_does_not_know():
    for dtype in (np.float64, np.float16, np.int8, bool):
        assert checks.matrix("x", np.ones((1, 2), dtype), [1, 2]).dtype == dtype
    assert checks.matrix("x", jnp.ones(2, jnp.bfloat16), [2]).dtype == np.float32


@pytest.mark.parametrize("value", [1, np.int8(1), 3])
def test_at_least_hands_back_an_integer(value):
    found = checks.at_least("k", value, 1)
    assert type(found) is int
    assert found == value


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, float("nan"), "1", None])
def test_at_least_refuses(value):
    with pytest.raises(ValueError, match=f"k: expected an integer of at least 1, got {value!r}"):
        checks.at_least("k", value, 1)


@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf")])
def test_non_negative_refuses(value):
    with pytest.raises(ValueError, match="beta: expected a finite number of at least 0"):
        checks.non_negative("beta", value)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0.0, 1.0]])
def test_class_labels_refuse(labels):
    with pytest.raises(ValueError, match="labels: expected"):
        checks.class_labels("labels", np.array(labels), 3)
