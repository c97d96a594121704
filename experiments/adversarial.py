"""Adversarial examples (Goodfellow et al., 2015): do rules of a softmax layer answer them rightly?

Examples that a network put in their class, moved until it does not. What enters its softmax layer
then misleads the network; rules, and a tree, read the same values, but less of them. Another
network of the same kind, for which the examples were not made, is the control: what it answers says
how far they were made for one network alone.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.tree import DecisionTreeClassifier

import mofn_jax as mofn
from experiments.paper_layers import BEST, WEIGHT_ORDER, capture
from experiments.rivals import TREE
from experiments.trained import Case, Trained

MOST_EXAMPLES = 1000
ITSELF, ANOTHER = "the network itself", "another network"
_BATCH = 500


class AdversarialRow(NamedTuple):
    """Of adversarial examples of a network, what one method answers."""

    dataset: str
    network: str
    activation: str
    seed: int
    epsilon: float  # how far each pixel is moved
    examples: int  # adversarial ones
    fooled: float  # share of those moved, right before, on which the network is wrong after
    method: str
    tests: int  # literals of the rules, tests of the tree; 0 of networks
    right_before: float  # share of the examples, before they are moved
    right: float  # after
    alone: float  # share on which the rule of the true class holds, and no other; NaN of others


@partial(jax.jit, static_argnames="network")
def move(
    network: nn.Module, params, inputs: jax.Array, labels: jax.Array, epsilon: float
) -> jax.Array:
    """Each pixel moved by epsilon to where the loss grows, and kept in 0..1 (the fast gradient
    sign method)."""

    def loss(inputs: jax.Array) -> jax.Array:
        logits, _ = network.apply({"params": params}, inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum()

    return jnp.clip(inputs + epsilon * jnp.sign(jax.grad(loss)(inputs)), 0, 1)


def answers_of(trained: Trained, inputs: np.ndarray) -> np.ndarray:
    """The classes that a network gives: [E]."""
    return capture(trained, inputs, "softmax").predictions


def rows_of_network(
    case: Case, trained: Trained, another: Trained, num_found: int, epsilon: float
) -> Iterator[AdversarialRow]:
    """A row for each method: both networks, rules by each search, a tree.

    Args:
      case: the network for which adversarial examples are made.
      trained: that network.
      another: one of the same kind.
      num_found: on how many test images rules and the tree are found; the others are moved.
      epsilon: how far each pixel is moved.

    Raises:
      ValueError: none that is moved so far fools the network.
    """
    examples = trained.dataset.test.inputs[:num_found]
    images, labels = (side[num_found:] for side in trained.dataset.test)
    moved = np.concatenate(
        [
            np.asarray(
                move(
                    trained.network,
                    trained.params,
                    images[start : start + _BATCH],
                    labels[start : start + _BATCH],
                    epsilon,
                )
            )
            for start in range(0, len(images), _BATCH)
        ]
    )
    was_right = answers_of(trained, images) == labels
    fooled = was_right & (answers_of(trained, moved) != labels)
    if not fooled.any():
        raise ValueError(f"epsilons: no image that is moved by {epsilon} fools the network")
    chosen = np.flatnonzero(fooled)[:MOST_EXAMPLES]
    before, after, truth = images[chosen], moved[chosen], labels[chosen]

    def row(method: str, tests: int, says: Sequence[np.ndarray], alone: float = np.nan):
        right_before, right = (float((some == truth).mean()) for some in says)
        share = float(fooled.sum() / was_right.sum())
        about = (*case, epsilon, len(chosen), share)
        return AdversarialRow(*about, method, tests, right_before, right, alone)

    for method, network in ((ITSELF, trained), (ANOTHER, another)):
        yield row(method, 0, [answers_of(network, some) for some in (before, after)])
    layer = capture(trained, examples, "softmax")
    reads = [capture(trained, some, "softmax").inputs for some in (before, after)]
    targets, _ = mofn.layer_targets(layer, None)
    most = 1
    for method, search in ((WEIGHT_ORDER, "weight_order"), (BEST, "best")):
        front = mofn.extract_layer(layer.weights, layer.inputs, targets, search=search)
        rules = mofn.select_rules(front, beta=0.0)
        answers = mofn.answer_from_rules(rules, layer.inputs, layer.predictions)
        holds = mofn.evaluate_rules(rules, reads[1])
        alone = holds[np.arange(len(truth)), truth] & (holds.sum(1) == 1)
        says = [answers.answer(some) for some in reads]
        most = answers.num_literals
        yield row(method, most, says, float(alone.mean()))
    tree = DecisionTreeClassifier(max_leaf_nodes=most + 1, random_state=0)
    tree.fit(layer.inputs, layer.predictions)
    tests = int(tree.get_n_leaves()) - 1
    yield row(TREE, tests, [tree.predict(some) for some in reads])
