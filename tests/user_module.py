"""A user's module that calls every public name: what test_package.py runs and type-checks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

import mofn_jax as mofn


def explain_a_network(folder: Path) -> tuple[mofn.LayerRules, ...]:
    """From a dataset to the rules of every layer."""
    dataset: mofn.Dataset = mofn.load_dataset("3-of-5")
    train, test = dataset.train, dataset.test
    network = mofn.MLP(num_classes=dataset.num_classes, hidden=(4,))
    autoencoder = mofn.Autoencoder(2, hidden=(3,), code=2)
    names = mofn.layer_names(autoencoder, parameters(autoencoder, images()), images())
    assert names == ("encoder_0", "code", "decoder_0", "reconstruction", "softmax")
    trained: mofn.TrainResult = mofn.train(jax.random.key(0), network, dataset, num_epochs=2)
    mofn.save_params(folder / "params", trained.params)
    params = mofn.restore_params(folder / "params")
    results = mofn.extract_network(
        network,
        params,
        train.inputs,
        held_out=test.inputs,
        betas=mofn.DEFAULT_BETAS,
        search="weight_order",
        mesh=mofn.make_mesh({"units": 1}),
        progress=lambda done: None,
        names=mofn.Names(classes=("no", "yes")),
    )
    rules = results[-1].at(beta=0.1)
    assert "def says(x):" in mofn.rules_to_python(rules)
    assert "softmax class yes" in mofn.rules_to_markdown(rules)
    example: mofn.ExampleExplanation = mofn.explain_example(rules, np.zeros(4))
    assert len(example.rules) == 2
    layers = mofn.capture_layers(network, params, test.inputs)
    assert mofn.report_html(results, layers, title="bits").startswith("<!doctype html>")
    bounds = mofn.error_bound([0, 1], len(test.inputs))
    assert bounds[0] < bounds[1]
    layer: mofn.Layer = mofn.capture_layers(network, params, train.inputs)[0]
    again: mofn.LayerRules = mofn.explain_layer(layer, betas=[0.1], search="weight_order")
    assert again.at(beta=0.1)[0].literals == results[0].at(beta=0.1)[0].literals
    targets, thresholds = mofn.layer_targets(layer, None)
    assert targets.shape[1] == len(thresholds)
    softmax: mofn.Layer = mofn.capture_layers(network, params, train.inputs)[-1]
    answers: mofn.Answers = mofn.answer_from_rules(
        results[-1].at(beta=0.1), softmax.inputs, softmax.predictions
    )
    assert answers.answer(softmax.inputs).shape == (len(train.inputs),)
    assert mofn.explain_predictions(train.inputs, softmax.predictions).fidelity > 0
    mofn.plots.plot_landscape([row for result in results for row in mofn.report.layer_rows(result)])
    return results


def explain_arrays(split: mofn.Split) -> str:
    """From arrays to rules, and the steps on the way."""
    inputs = split.inputs
    kernel = np.array([[1.0, -1.0], [1.0, 0.5], [1.0, 0.0], [1.0, 2.0], [1.0, 1.0]])
    activations = inputs @ kernel
    layer: mofn.Layer = mofn.layer_from_arrays("sums", kernel, inputs, activations, split.labels)
    assert layer.kind == "dense"
    targets, unit_thresholds = mofn.binarize_targets(activations, split.labels, 2)
    found, gains = mofn.unit_thresholds(activations, split.labels, 2)
    assert np.array_equal(found, unit_thresholds)
    assert float(gains.max()) > 0
    thresholds: mofn.Thresholds = mofn.best_thresholds(inputs, targets)
    gain: jax.Array = mofn.information_gain(
        jax.numpy.asarray(inputs[:, 0]), jax.numpy.asarray(split.labels), 1.0, 2
    )
    assert gain >= 0

    weights = np.ones(5)
    literals: mofn.Literals = mofn.ordered_literals(weights, thresholds.values[:, 0])
    order: mofn.PrefixOrder = mofn.prefix_order(5)
    (least_ranks,) = mofn.score_layer([literals], inputs, targets[:, :1], order)
    truth = mofn.pack_examples(mofn.literal_truth(literals, inputs).T)
    target = mofn.pack_examples(targets[:, 0])
    examples = mofn.pack_examples(np.ones(len(inputs), bool))
    errors: jax.Array = mofn.score_unit(*map(jax.numpy.asarray, (truth, target, examples)))
    assert int(errors.min()) == int(np.flatnonzero(least_ranks < order.ranks.max())[0])
    assert mofn.complexity(2, 3, num_inputs=5) > 0

    search: mofn.Search = mofn.SEARCHES["exact"]
    resources = mofn.Resources(memory_budget=2**20)
    exact = search([literals], inputs, targets[:, :1], max_literals=2, resources=resources)
    alike = mofn.extract_layer(weights[:, None], inputs, targets[:, :1], search=first_only)
    assert len(alike.units) == 1
    front: mofn.RuleFront = mofn.extract_layer(
        weights[:, None], inputs, targets[:, :1], search="weight_order"
    )
    candidate: mofn.Candidate = mofn.merge_fronts(front, exact).units[0][0]
    assert candidate.errors >= 0
    front = mofn.refine_front(front, inputs, targets[:, :1])
    (chosen,) = mofn.select(front, max_literals=2)
    assert len(chosen.literals.inputs) <= 2
    assert mofn.provable_literals(5) == 5
    rules: tuple[mofn.Rule, ...] = mofn.select_rules(front, beta=0.1)
    rules = mofn.measure_held_out(rules, inputs, targets[:, :1])
    assert mofn.rules_from_json(mofn.rules_to_json(rules)) == rules
    assert mofn.evaluate_rules(rules, inputs).shape == (len(inputs), 1)
    literal: mofn.Literal = rules[0].literals[0]
    assert literal.threshold in inputs
    assert len(mofn.format_literals(rules[0])) == len(rules[0].literals)
    return mofn.format_rule(rules[0], ["a", "b", "c", "d", "e"])


def first_only(
    literals: Sequence[mofn.Literals], inputs: NDArray[Any], targets: NDArray[Any], **options: Any
) -> mofn.RuleFront:
    """A search of one's own: of the first literal alone."""
    return mofn.SEARCHES["weight_order"](literals, inputs, targets, **options | {"max_literals": 1})


def explain_a_filter() -> None:
    """The patch that the most informative unit of a filter sees."""
    network = mofn.CNN(2, conv_blocks=((2,),), dense=())
    layer = mofn.capture_layers(network, parameters(network, images()), images())[0]
    convolution: mofn.Convolution | None = layer.convolution
    assert convolution is not None
    assert convolution.strides == (1, 1)
    positions = mofn.most_informative_positions(layer.activations, layer.predictions, 2)
    assert mofn.patches(layer, positions[0]).shape == (6, 9)
    assert mofn.softmax_targets(layer.predictions, 2).shape == (6, 2)


def parameters(network: mofn.CNN | mofn.Autoencoder, inputs: jax.Array) -> object:
    """Parameters as drawn."""
    return network.init(jax.random.key(0), inputs)["params"]


def images() -> jax.Array:
    """[6, 8, 8, 1], noise."""
    return jax.random.uniform(jax.random.key(1), (6, 8, 8, 1))


def main(folder: Path) -> None:
    print(mofn.__version__)
    print(mofn.describe_devices())
    print([result.name for result in explain_a_network(folder)])
    print(explain_arrays(mofn.load_dataset("3-of-5").train))
    explain_a_filter()
