"""Documentation: every public name has a page, links lead somewhere, and of the table of frameworks
each line does what it says."""

import re
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import numpy as np
import pytest
from flax import nnx
from foreign import drawn

import mofn_jax as mofn

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINES = re.findall(
    r"^\| ([^|]+) \| `(layers? = mofn.*|answers = mofn.*)` \|$",
    (ROOT / "docs/your_network.md").read_text(),
    re.MULTILINE,
)
INPUTS = np.random.default_rng(0).standard_normal((30, 6)).astype(np.float32)
KERNEL = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Dense(5)(x)))
        return nn.Dense(3)(x)


def linen():
    network = nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(3)])
    return {"network": network, "params": network.init(jax.random.key(0), INPUTS)["params"]}


def linen_with_statistics():
    return {"network": Normed(), "variables": Normed().init(jax.random.key(0), INPUTS, False)}


def in_nnx():
    rngs = nnx.Rngs(0)
    return {
        "model": nnx.Sequential(nnx.Linear(6, 5, rngs=rngs), nnx.relu, nnx.Linear(5, 3, rngs=rngs))
    }


def in_equinox():
    return {"jax": jax, "model": drawn(eqx.nn.MLP, 6, 3, 5, 1)}


def in_haiku():
    transformed = hk.transform(lambda x: hk.nets.MLP([5, 3])(x))
    return {"transformed": transformed, "params": transformed.init(jax.random.key(0), INPUTS)}


def plain(of_outputs=lambda logits: logits):
    params = {"first": KERNEL, "second": KERNEL[:4, :3]}
    return {
        "params": params,
        "function": lambda params, x: of_outputs(
            jax.numpy.tanh(x @ params["first"]) @ params["second"]
        ),
    }


def arrays(weights, inputs=INPUTS, outputs=None):
    outputs = np.tanh(INPUTS @ KERNEL) if outputs is None else outputs
    return {"inputs": inputs, "outputs": outputs, "predictions": np.arange(30) % 3} | weights


def images():
    inputs = np.random.default_rng(2).standard_normal((30, 2, 8, 8)).astype(np.float32)
    weight = np.random.default_rng(3).standard_normal((4, 2, 3, 3)).astype(np.float32)
    outputs = jax.lax.conv_general_dilated(inputs, weight, (2, 2), [(1, 1)] * 2)
    return arrays({"weight": weight}, inputs, np.maximum(outputs, 0))


def black_box():
    predictions = (INPUTS[:, :3] > 0).sum(1)
    return {
        "predictions": predictions[:20],
        "inputs": INPUTS[:20],
        "other_inputs": INPUTS[20:],
        "other_predictions": predictions[20:],
    }


GIVEN = {
    "Flax Linen": linen,
    "Flax Linen, with batch statistics": linen_with_statistics,
    "Flax NNX": in_nnx,
    "Equinox": in_equinox,
    "Haiku": in_haiku,
    "any function of JAX": plain,
    "logits that are not the first output": lambda: plain(
        lambda logits: {"first": logits + 1, "scores": logits}
    ),
    "no classes: explain about your own": lambda: plain() | {"labels": np.arange(30) % 3},
    "PyTorch, a linear layer": lambda: arrays({"weight": KERNEL.T}),
    "PyTorch, a convolution": images,
    "Keras, scikit-learn": lambda: arrays({"kernel": KERNEL}),
    "any black box": black_box,
}


def test_every_line_is_tested():
    assert [name for name, _ in LINES] == list(GIVEN)


@pytest.mark.parametrize(("name", "line"), LINES)
def test_a_line_of_the_table(name, line):
    namespace = {"mofn": mofn, "inputs": INPUTS} | GIVEN[name]()
    exec(line, namespace)
    found = SimpleNamespace(**namespace)
    if "answers" in namespace:
        assert found.answers.held_out_fidelity is not None
        return
    layers = namespace.get("layers") or [found.layer]
    assert len(layers) == (2 if "layers" in namespace else 1)
    for layer in layers:
        assert len(mofn.explain_layer(layer, betas=[0.1], search="weight_order").at(beta=0.1)) > 0


def test_every_public_name_has_a_page():
    pages = sorted((ROOT / "docs/api").glob("*.md"))
    named = re.findall(
        r"^::: mofn_jax\.(\w+)$", "\n".join(p.read_text() for p in pages), re.MULTILINE
    )
    assert sorted(named) == sorted(mofn.__all__)
    assert [page.name for page in pages] == sorted(
        re.findall(r"api/(\w+\.md)", (ROOT / "mkdocs.yml").read_text())
    )


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.splitlines()) <= 120
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).exists(), link
