"""What else could say when a unit is on: decision trees, sparse linear models of its literals."""

import inspect
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from sklearn.svm import l1_min_c
from sklearn.tree import DecisionTreeClassifier
from tqdm import tqdm

from mofn_jax import meshes
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.search.stepwise import choose_pool

TREE, LINEAR = "decision tree", "logistic regression"
_MOST_LITERALS = 1024  # for a regression to choose from, as for the stepwise search
_PATH_STEP = 1.2  # from one penalty to the next
# As scikit-learn before 1.8 asks for an L1 penalty, and since.
_OLD = inspect.signature(LogisticRegression).parameters["penalty"].default == "l2"
_L1 = {"penalty": "l1"} if _OLD else {"l1_ratio": 1}


class Side(NamedTuple):
    """A layer on some examples, and when its varying units are on."""

    inputs: np.ndarray  # [., n]
    targets: np.ndarray  # [., u]


def rivals_of_units(
    sizes: Sequence[int],
    sides: tuple[Side, Side],
    literals: Sequence[Literals],
    units: np.ndarray,
) -> list[dict[str, list[tuple[np.ndarray, np.ndarray]]]]:
    """Of some units what trees and regressions of every size say on both sides.

    Args:
      sizes: numbers of tests or weights, at most.
      sides: the examples to learn from, and held-out ones.
      literals: of all u units.
      units: which to do.
    """
    first, second = sides

    def rivals(unit: int) -> dict[str, list]:
        target = first.targets[:, unit]
        same = literals[unit].take(choose_pool(literals[unit], _MOST_LITERALS))
        truth = [literal_truth(same, side.inputs) for side in sides]
        return {
            TREE: list(tree_predictions(sizes, first.inputs, target, second.inputs)),
            LINEAR: list(linear_predictions(sizes, truth[0], target, truth[1])),
        }

    with ThreadPoolExecutor(meshes.cpu_count()) as threads:
        made = threads.map(rivals, units)
        return list(tqdm(made, total=len(units), unit="unit", desc="trees", leave=False))


def tree_predictions(
    sizes: Sequence[int], inputs: np.ndarray, target: np.ndarray, held_out: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What decision trees of at most so many tests say, on inputs [E, n] and on held-out ones.

    A tree grows best test first, and its nodes are numbered as they come: the tree of s tests is
    the first 2 s + 1 nodes of any larger one.
    """
    tree = DecisionTreeClassifier(max_leaf_nodes=max(sizes) + 1, random_state=0)
    tree.fit(inputs, target)
    says = tree.tree_.value[:, 0].argmax(-1).astype(bool)
    paths = [tree.decision_path(some) for some in (inputs, held_out)]
    for size in sizes:
        nodes = [np.where(path.indices <= 2 * size, path.indices, 0) for path in paths]
        first, second = (
            says[np.maximum.reduceat(some, path.indptr[:-1])]
            for some, path in zip(nodes, paths, strict=True)
        )
        yield first, second


def linear_predictions(
    sizes: Sequence[int], truth: np.ndarray, target: np.ndarray, held_out: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What logistic regressions with at most so many weights say, on literals and held-out ones.

    Literals are chosen by an L1 penalty, the least of those tried that leaves few enough of them,
    and weighed without it, with L2 as scikit-learn has it: L1 would hold the weights back.

    Args:
      sizes: numbers of weights that are not 0.
      truth: [E, N] booleans, which literals hold on which examples.
      target: [E] booleans, neither always true nor always false.
      held_out: [., N] booleans.
    """
    chosen = dict.fromkeys(sizes, np.zeros(0, int))
    penalty, most = l1_min_c(truth, target, loss="log"), min(max(sizes), truth.shape[1])
    literals = csr_array(truth, dtype=float)
    fit = partial(LogisticRegression, solver="liblinear", max_iter=1000, random_state=0)
    largest = penalty * 1e4  # by then as good as no penalty
    while penalty < largest:
        penalty *= _PATH_STEP
        model = fit(**_L1, C=penalty, tol=1e-3).fit(literals, target)
        which = np.flatnonzero(model.coef_[0])
        chosen |= {size: which for size in sizes if len(which) <= size}
        if len(which) >= most:
            break
    for size in sizes:
        which = chosen[size]
        if len(which):
            model = fit().fit(truth[:, which], target)
            yield model.predict(truth[:, which]), model.predict(held_out[:, which])
        else:
            constant = target.mean() > 0.5
            yield np.full(len(truth), constant), np.full(len(held_out), constant)
