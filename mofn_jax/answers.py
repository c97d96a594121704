"""One answer from the rules of all classes, and how often it is the network's.

Of each class there is a rule; on some examples several of them say yes, or none. What decides is
how many of a rule's literals hold: the more, the likelier is its class.

Axis letters: E examples, n inputs, k classes, N literals of a rule.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.tree import DecisionTreeClassifier

from mofn_jax import checks
from mofn_jax.extraction import extract_layer
from mofn_jax.measures import count_literals
from mofn_jax.names import Names, check_names, class_names
from mofn_jax.rules import Rule, check_rules, named, select_rules
from mofn_jax.sources import names_of_flattened
from mofn_jax.thresholds import softmax_targets

_PRIOR = 0.5  # examples of either kind that are added to each count, as Jeffreys' prior does

_MOST_TARGETS = 2**30  # of all classes on all examples; beyond that labels are no classes


class Answers(NamedTuple):
    """Rules of the classes, and the class that they give together.

    A *fidelity* is the share of examples on which the answer is the network's; that of a tree is of
    a decision tree with as many tests as the rules have literals, grown on the same examples.
    """

    rules: tuple[Rule, ...]  # of each of the k classes
    log_odds: tuple[np.ndarray, ...]  # of each, [N + 1]: of its class by how many literals hold
    fidelity: float  # on the examples that the rules were found on
    tree_fidelity: float
    held_out_fidelity: float | None = None  # on others
    held_out_tree_fidelity: float | None = None

    @property
    def num_literals(self) -> int:
        """The literals of all rules together."""
        return sum(len(rule.literals) for rule in self.rules)

    def __str__(self) -> str:
        """How true the answer is, in percent, and the rules."""
        text = f"{self.num_literals} literals: {self.fidelity:.1%} as the network"
        trees = f"{self.tree_fidelity:.1%}"
        if self.held_out_fidelity is not None:
            text += f", held out {self.held_out_fidelity:.1%}"
            trees += f", held out {self.held_out_tree_fidelity:.1%}"
        return "\n".join([f"{text} (a tree of as many tests {trees})", *map(str, self.rules)])

    def answer(self, inputs: ArrayLike) -> np.ndarray:
        """The class of largest log-odds, the first on a tie: [E] int32 of inputs [E, n].

        Raises:
          ValueError: inputs not finite, or fewer than the rules name.
        """
        counts = count_literals(self.rules, inputs)
        odds = [table[column] for table, column in zip(self.log_odds, counts.T, strict=True)]
        return np.argmax(odds, axis=0).astype(np.int32)


def answer_from_rules(
    rules: Sequence[Rule],
    inputs: ArrayLike,
    predictions: ArrayLike,
    *,
    held_out: tuple[Any, Any] | None = None,
) -> Answers:
    """One answer from the rules of all classes, such as those of a softmax layer.

    The log-odds of a class where h of its rule's N literals hold are, with E(h) the examples on
    which h hold and c(h) those of them that the network gives the class,

        log((c(h) + 1/2) / (E(h) - c(h) + 1/2))

    Args:
      rules: of each of the k classes, in their order.
      inputs: [E, n] real numbers, what the rules were found on.
      predictions: [E] integers in 0..k-1, what the network says.
      held_out: other inputs and predictions, on which fidelity is measured as well.

    Raises:
      ValueError: no rules, or such that are none; inputs not finite, or fewer than the rules name;
        predictions of another number or out of range; held_out that is no pair.
    """
    rules = check_rules(rules)
    if not rules:
        raise ValueError("rules: expected one for each class, got none")
    inputs = _flat("inputs", inputs, None)
    predictions = _classes("predictions", predictions, len(rules), len(inputs))
    counts = count_literals(rules, inputs)
    targets = softmax_targets(predictions, len(rules))
    tables = []
    for rule, count, target in zip(rules, counts.T, targets.T, strict=True):
        size = len(rule.literals) + 1
        all_, on = np.bincount(count, minlength=size), np.bincount(count[target], minlength=size)
        tables.append(np.log((on + _PRIOR) / (all_ - on + _PRIOR)))
    answers = Answers(rules, tuple(tables), np.nan, np.nan)
    tree = DecisionTreeClassifier(max_leaf_nodes=max(2, answers.num_literals + 1), random_state=0)
    # Trees read float32: what is beyond it is scaled, which moves no example past another.
    scale = min(1.0, 1e30 / max(1.0, float(np.abs(inputs).max())))

    def as_float32(some: np.ndarray) -> np.ndarray:
        return np.clip(some * scale, -1e32, 1e32).astype(np.float32)

    tree.fit(as_float32(inputs), predictions)

    def fidelities(inputs: np.ndarray, predictions: np.ndarray) -> tuple[float, float]:
        says = answers.answer(inputs), tree.predict(as_float32(inputs))
        of_rules, of_tree = (float((one == predictions).mean()) for one in says)
        return of_rules, of_tree

    fidelity, tree_fidelity = fidelities(inputs, predictions)
    answers = answers._replace(fidelity=fidelity, tree_fidelity=tree_fidelity)
    if held_out is None:
        return answers
    fidelity, tree_fidelity = fidelities(*_held_out(held_out, inputs.shape[1], len(rules)))
    return answers._replace(held_out_fidelity=fidelity, held_out_tree_fidelity=tree_fidelity)


def explain_predictions(
    inputs: ArrayLike,
    predictions: ArrayLike,
    *,
    held_out: tuple[Any, Any] | None = None,
    num_classes: int | None = None,
    max_literals: int = 30,
    names: Names | None = None,
    **options: Any,
) -> Answers:
    """What a network, or any other black box, says of its inputs, in one rule for each class.

    Args:
      inputs: [E, n] real numbers; of images or other arrays [E, ...], they are flattened.
      predictions: [E] integers from 0, what the black box says of each.
      held_out: other inputs and what it says of them, on which fidelity is measured as well.
      num_classes: k; None for those up to the largest of the predictions.
      max_literals: the most literals of a rule.
      names: what the inputs and classes are called, such as `Dataset.names`; by default a data
        frame's columns.
      **options: of `extract_layer`, such as search, memory_budget, progress and mesh.

    Returns:
      The rules, whose literals are about the inputs, their fidelity together, and that of a tree.

    Raises:
      ValueError: as `extract_layer` and `answer_from_rules`; names of another number than the
        inputs or classes.

    Examples:
      >>> inputs = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]])
      >>> answers = explain_predictions(inputs, inputs.sum(1) >= 2)
      >>> print(answers.rules[1])
      unit 1 <=> 2 of {x1 >= 1, x0 >= 1, x2 >= 1}   (error 0.0%, baseline 50.0%, complexity 1.000)
      >>> answers.fidelity
      1.0
    """
    given, inputs = inputs, checks.numbers("inputs", inputs, 2)
    shape = inputs.shape
    names = check_names(names, given, shape[-1])
    inputs = _flat("inputs", inputs, None)
    predictions = _classes("predictions", predictions, num_classes, len(inputs))
    if num_classes is not None:
        num_classes = checks.at_least("num_classes", num_classes, 1)
    else:
        num_classes = int(predictions.max()) + 1
    if held_out is not None:
        held_out = _held_out(held_out, inputs.shape[1], num_classes)
    checks.at_least("max_literals", max_literals, 1)
    if num_classes * len(inputs) > _MOST_TARGETS:
        raise ValueError(
            f"predictions: class {num_classes - 1} makes {num_classes} classes, too many for "
            f"{len(inputs)} examples; expected classes from 0 without gaps"
        )
    targets = softmax_targets(predictions, num_classes)
    front = extract_layer(None, inputs, targets, max_literals=max_literals, **options)
    rules = select_rules(front, max_literals=max_literals)
    texts, scaling = names_of_flattened(shape, names)
    classes = class_names("softmax", num_classes, names)
    rules = tuple(
        rule._replace(
            literals=tuple(
                named(literal, texts[i], None if scaling is None else scaling[i])
                for literal in rule.literals
                for i in [literal.input]
            ),
            unit_name="" if classes is None else classes[rule.unit],
        )
        for rule in rules
    )
    return answer_from_rules(rules, inputs, predictions, held_out=held_out)


def _held_out(
    held_out: tuple[Any, Any], num_inputs: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(held_out, tuple | list) or len(held_out) != 2:
        raise ValueError("held_out: expected a pair, of inputs and predictions")
    inputs = _flat("held_out", held_out[0], num_inputs)
    return inputs, _classes("held_out", held_out[1], num_classes, len(inputs))


def _flat(name: str, inputs: Any, num_inputs: int | None) -> np.ndarray:
    inputs = checks.numbers(name, inputs, 2)
    return checks.matrix(name, inputs.reshape(len(inputs), -1), [None, num_inputs])


def _classes(name: str, predictions: Any, num_classes: int | None, size: int) -> np.ndarray:
    predictions = checks.on_host(name, predictions)
    if predictions.dtype == bool:  # of two classes
        predictions = predictions.astype(np.int32)
    return checks.class_labels(name, predictions, num_classes, size)
