"""What else could say when a unit is on: decision trees, grown or optimal, sparse linear models."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from sklearn.svm import l1_min_c
from sklearn.tree import DecisionTreeClassifier
from tqdm import tqdm

from mofn_jax import meshes
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.search.pools import choose_pool

_Made = TypeVar("_Made")
TREE, LINEAR = "decision tree", "logistic regression"
_MOST_INPUTS, _DRAWN = 1024, 8  # of a layer all of whose units have rivals; else of so many
_MOST_LITERALS = 1024  # for a regression to choose from, as for the stepwise search
_PATH_STEP = 1.2  # from one penalty to the next
_MOST_FOR_DEPTH_4 = 32  # literals of an optimal tree of depth 4; of more, of depth 2
_STREED_SECONDS = 60.0
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
        trees = grown_trees(sizes, first.inputs, target, second.inputs)
        return {
            TREE: [(tree.says, tree.held_out_says) for tree in trees],
            LINEAR: list(linear_predictions(sizes, truth[0], target, truth[1])),
        }

    return each_unit(rivals, units)


def each_unit(make: Callable[[int], _Made], units: Sequence[int] | np.ndarray) -> list[_Made]:
    """What is made of each unit, of as many at a time as there are cores, under a progress bar."""
    with ThreadPoolExecutor(meshes.cpu_count()) as threads:
        made = threads.map(make, units)
        return list(tqdm(made, total=len(units), unit="unit", desc="trees", leave=False))


def draw_units(num_units: int, num_inputs: int, seed: int) -> np.ndarray:
    """The units of a layer that have rivals: all, or of one of many inputs a few, drawn.

    Args:
      num_units: those of the layer that vary.
      num_inputs: that each of them reads.
      seed: of the draw.

    Returns:
      Their numbers, in order.
    """
    if num_inputs <= _MOST_INPUTS or num_units <= _DRAWN:
        return np.arange(num_units)
    return np.sort(np.random.default_rng(seed).choice(num_units, _DRAWN, replace=False))


class Tree(NamedTuple):
    """What a decision tree says, and how long it is."""

    tests: int
    length: int  # of its DNF: the tests on the paths to all leaves that say "on"
    says: np.ndarray  # [E] booleans
    held_out_says: np.ndarray  # [.]


def grown_trees(
    sizes: Sequence[int], inputs: np.ndarray, target: np.ndarray, held_out: np.ndarray
) -> Iterator[Tree]:
    """Decision trees of at most so many tests, that grow best test first.

    Its nodes are numbered as they come: the tree of s tests is the first 2 s + 1 of any larger one.

    Args:
      sizes: numbers of tests.
      inputs: [E, n].
      target: [E] booleans, both of which are met.
      held_out: [., n].
    """
    grown = DecisionTreeClassifier(max_leaf_nodes=max(sizes) + 1, random_state=0)
    grown.fit(inputs, target)
    tree = grown.tree_
    says = tree.value[:, 0].argmax(-1).astype(bool)
    depths = np.zeros(tree.node_count, int)
    for node in np.flatnonzero(tree.children_left >= 0):
        depths[[tree.children_left[node], tree.children_right[node]]] = depths[node] + 1
    paths = [grown.decision_path(some) for some in (inputs, held_out)]
    for size in sizes:
        last = 2 * size
        first, second = (
            says[np.maximum.reduceat(nodes, path.indptr[:-1])]
            for path in paths
            for nodes in [np.where(path.indices <= last, path.indices, 0)]
        )
        left = tree.children_left[: last + 1]
        is_leaf = (left < 0) | (left > last)
        length = depths[: last + 1][is_leaf & says[: last + 1]].sum()
        yield Tree(int((~is_leaf).sum()), int(length), first, second)


def optimal_trees(
    sizes: Sequence[int], truth: np.ndarray, target: np.ndarray, held_out: np.ndarray
) -> Iterator[Tree]:
    """Of the trees of at most so many tests and a limited depth one with the fewest errors.

    By STreeD (van der Linden et al., 2023); a test asks whether a literal holds.

    Args:
      sizes: numbers of tests.
      truth: [E, N] booleans, which literals hold on which examples.
      target: [E] booleans.
      held_out: [., N] booleans.

    Yields:
      Those that STreeD could prove to be the best in its time.

    Raises:
      ImportError: STreeD is not installed.
    """
    depth = 4 if truth.shape[1] <= _MOST_FOR_DEPTH_4 else 2
    for size in dict.fromkeys(min(size, 2**depth - 1) for size in sizes):
        model = import_streed()(max_depth=depth, max_num_nodes=size, time_limit=_STREED_SECONDS)
        model.fit(truth.astype(np.int32), target.astype(np.int32))
        if not model.fit_result.is_optimal():
            return
        says = [model.predict(some.astype(np.int32)) == 1 for some in (truth, held_out)]
        yield Tree(*_size_below(model.tree_, 0), *says)


def _size_below(node: Any, depth: int) -> np.ndarray:
    """The tests of a tree from this node on, and their part of its length."""
    if node.is_leaf_node():
        return np.array([0, depth if node.label == 1 else 0])
    children = (node.left_child, node.right_child)
    return sum((_size_below(child, depth + 1) for child in children), np.array([1, 0]))


def import_streed() -> Any:
    """The learner of optimal trees.

    Raises:
      ImportError: saying what to install.
    """
    try:
        from pystreed import STreeDClassifier
    except ImportError:
        raise ImportError(
            'the optimal trees of table1 are made by STreeD: pip install "mofn_jax[rivals]", on '
            "Linux with a Python below 3.13; elsewhere do the other --parts"
        ) from None
    return STreeDClassifier


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
