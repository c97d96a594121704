"""What the page of a report holds: pictures, frames, and thresholds as they are compared."""

import base64
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import mofn_jax as mofn
from mofn_jax import page, page_data


def test_frames_where_padding_reaches_outside():
    network = mofn.CNN(num_classes=2, activation="relu", padding="SAME")
    inputs = np.zeros((1, 8, 8, 1), np.float32)
    params = network.init(jax.random.key(0), inputs)
    layer = mofn.capture_layers(network, params, inputs)[0]
    frames = page_data._frames(layer)
    assert len(frames) == 64
    assert frames[0].tolist() == [-1 / 8, -1 / 8, 3 / 8, 3 / 8]


def test_pictures_lie_side_by_side_and_large_ones_are_made_smaller():
    pictures = np.zeros((5, 130, 70, 1), np.float32)
    pictures[3] = 1
    sprite = page_data.sprite(pictures)
    assert (sprite["columns"], sprite["rows"]) == (3, 2)
    assert (sprite["height"], sprite["width"]) == (64, 34)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite["png"]))))
    assert image.shape == (2 * 64, 3 * 34)
    assert image[64:, :34].min() == 255
    assert (image > 0).sum() == 64 * 34


@pytest.mark.parametrize("shape", [(1, 500), (3, 1000), (500, 1), (31, 1000), (65, 64)])
def test_of_long_pictures_no_part_is_lost(shape):
    picture = np.zeros((1, *shape, 3))
    picture[:, shape[0] // 2 :] = 1
    picture[:, 0, 0] = 0
    image = Image.open(io.BytesIO(base64.b64decode(page_data.sprite(picture)["png"])))
    assert max(image.size) == 64
    assert np.asarray(image)[-1].max() > 100


def test_examples_to_show_are_those_that_there_is_room_for():
    assert len(page.examples_to_show(np.zeros((5000, 28, 28, 1)))) == 1000
    assert len(page.examples_to_show(np.zeros((500, 300, 300, 3)))) == 2**20 // (64 * 64 * 3)
    assert page.examples_to_show(np.zeros((3, 4))).tolist() == [0, 1, 2]
    # Not pictures, however they are shaped.
    assert len(page.examples_to_show(np.zeros((12, 64, 64, 512)))) == 12


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32, np.float64, np.int8, bool])
def test_thresholds_are_those_that_are_compared(dtype):
    """In float32, of shorter numbers too, as the page holds the values."""
    rng = np.random.default_rng(0)
    values = (4 * rng.random(200)).astype(dtype)
    held = np.float32 if values.dtype.kind in "fV" and values.dtype.itemsize <= 4 else np.float64
    for threshold in [*values[:50].astype(float), 1.1, 0.3000001, 2.0**-30]:
        compared = page_data._as_compared(float(threshold), values.dtype)
        assert np.array_equal(values.astype(held) >= held(compared), values >= float(threshold)), (
            threshold
        )
