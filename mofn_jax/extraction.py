"""From the arrays of a layer to the fronts of its units: thresholds, literals, search.

Axis letters: E examples, n inputs, u units.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from mofn_jax import checks, meshes
from mofn_jax.chunking import read_columns
from mofn_jax.fronts import RuleFront
from mofn_jax.held_inputs import hold
from mofn_jax.literals import (
    Literals,
    most_literals,
    ordered_literals,
    ordered_literals_by_gain,
)
from mofn_jax.meshes import Resources
from mofn_jax.search import SEARCHES, Search, check_options
from mofn_jax.search.refine import refine_front
from mofn_jax.search.stepwise import compile_ahead
from mofn_jax.thresholds import best_thresholds


def extract_layer(
    weights: ArrayLike | None,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    search: str | Search = "best",
    refine: bool = False,
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
    on_stage: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> RuleFront:
    """The front of rules of every unit of a layer; needs arrays only, from any framework.

    Args:
      weights: [n, u] real numbers; sign and size order and sign the literals. None if there are
        none: then the information gain of each input's threshold orders them, and they are signed
        as the unit is more often on above or below it.
      inputs: [E, n] real numbers, what enters the layer. A memory map is read in slices.
      targets: [E, u] booleans, whether each unit is on.
      search: the strategy, a name in `SEARCHES`: "weight_order", the paper's; "exact", the best of
        all rules of few literals; "stepwise", rules of any length up to 60 literals; "best", all
        of these, refined. Or a function that is one, see `Search`.
      refine: whether the thresholds of the rules found are moved where that makes fewer errors;
        "best" does so anyway.
      max_literals: the most literals in a rule; None for as many as there are inputs.
      memory_budget: bytes of working memory; never changes the result. An accelerator keeps the
        inputs in its own memory besides, without a mesh and if they take a fourth of it or less.
      mesh: devices, of one process or several, to divide the work among, with an axis "units", an
        axis "examples", or both, as `make_mesh` makes it. Never changes the result. Thresholds,
        scores and searches are divided; sorting and signing literals, and refinement, are not.
        Every process must be given the same arrays and options, and gets all the rules.
      progress: called with the number of units done since the last call.
      on_stage: called with what is being done ("compiling", "thresholds", "exact", ...), how much
        of it is done, and of how much: inputs of thresholds, units of the other stages.
      **options: of the search.

    Returns:
      The fronts of the u units.

    Raises:
      ValueError: shapes that disagree, NaN or infinity, no examples or inputs, targets that are not
        boolean, an unknown search or one that returns something else than a front of each unit, an
        option that the search does not have or out of its range, max_literals or memory_budget
        below 1, a mesh of other axes, arrays that differ between processes.

    Examples:
      >>> from mofn_jax.rules import select_rules
      >>> inputs = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]])
      >>> targets = inputs.sum(1, keepdims=True) >= 2
      >>> front = extract_layer(np.ones((3, 1)), inputs, targets)
      >>> print(select_rules(front, beta=0.1)[0])
      unit 0 <=> 2 of {x0 >= 1, x1 >= 1, x2 >= 1}   (error 0.0%, baseline 50.0%, complexity 1.000)
    """
    options["max_literals"] = max_literals
    strategy = check_extraction(
        search,
        refine=refine,
        memory_budget=memory_budget,
        mesh=mesh,
        progress=progress,
        on_stage=on_stage,
        **options,
    )
    memory_budget = checks.at_least("memory_budget", memory_budget, 1)
    inputs = checks.matrix("inputs", inputs, [None, None])
    if weights is not None:
        weights = checks.matrix("weights", weights, [inputs.shape[1], None])
    num_units = None if weights is None else weights.shape[1]
    targets = checks.booleans("targets", targets, [len(inputs), num_units])
    mesh = meshes.with_both_axes(mesh)
    meshes.check_same(mesh, weights=weights, inputs=inputs, targets=targets)
    if not callable(search):
        strategy([], inputs, targets[:, :0], **options)  # what its options ask of so many inputs
    resources = Resources(memory_budget, mesh, progress, on_stage)
    resources.report("compiling", 0, targets.shape[1])
    with ThreadPoolExecutor(1) as beside:
        # What takes longest to compile can be compiled while thresholds are found.
        if search in ("best", "stepwise") and mesh is None and meshes.platform() == "cpu":
            beside.submit(meshes.as_here(partial(compile_ahead, **options)), *inputs.shape)
        inputs, resources = _columns_at_hand(inputs, resources)
        literals = _layer_literals(weights, inputs, targets, resources)
        front = strategy(literals, inputs, targets, resources=resources, **options)
    if not isinstance(front, RuleFront) or len(front.units) != targets.shape[1]:
        raise ValueError(
            f"search: expected it to return a RuleFront of {targets.shape[1]} units, got "
            f"{len(front.units) if isinstance(front, RuleFront) else type(front).__name__}"
        )
    return refine_front(front, inputs, targets, memory_budget=memory_budget) if refine else front


def check_extraction(
    search: str | Search = "best",
    *,
    refine: bool = False,
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
    on_stage: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Search:
    """The strategy of these options of `extract_layer`, checked as far as that needs no arrays.

    Raises:
      ValueError: as `extract_layer`.
    """
    strategy = search if callable(search) else SEARCHES[checks.known("search", search, SEARCHES)]
    check_options(strategy, options)
    checks.known("refine", refine, [True, False])
    checks.at_least("memory_budget", memory_budget, 1)
    most_literals(max_literals, 1)
    checks.callback("progress", progress)
    checks.callback("on_stage", on_stage)
    meshes.with_both_axes(mesh)
    if not callable(search):
        none = np.zeros((1, 1)), np.zeros((1, 0), bool)
        strategy([], *none, max_literals=max_literals, **options)  # of no units: it checks them
    return strategy


def _columns_at_hand(inputs: np.ndarray, resources: Resources) -> tuple[np.ndarray, Resources]:
    """The inputs, column by column in memory if there is room for that, and what is left.

    Thresholds, bits and refinement all read columns: of rows they would each have to make them. An
    accelerator holds the columns itself.
    """
    held = None if resources.mesh is not None else hold(inputs, resources.memory_budget)
    if held is not None:
        return inputs, resources._replace(held=held)
    if inputs.flags.f_contiguous or inputs.nbytes > resources.memory_budget // 4 * 3:
        return inputs, resources
    left = resources.memory_budget - inputs.nbytes
    return read_columns(inputs), resources._replace(memory_budget=left)


def _layer_literals(
    weights: np.ndarray | None, inputs: np.ndarray, targets: np.ndarray, resources: Resources
) -> list[Literals]:
    """The literals of every unit, ordered and signed by its weights, or by gain without weights."""
    done, num_inputs = 0, inputs.shape[1]

    def progress(count: int) -> None:
        nonlocal done
        done += count
        resources.report("thresholds", done, num_inputs)

    thresholds = best_thresholds(
        inputs,
        targets,
        memory_budget=resources.memory_budget,
        mesh=resources.mesh,
        progress=progress,
    )
    values, gains = thresholds.values.T, thresholds.gains.T
    if weights is not None:
        return [
            ordered_literals(unit_weights, unit_values, gains=unit_gains)
            for unit_weights, unit_values, unit_gains in zip(weights.T, values, gains, strict=True)
        ]
    return [
        ordered_literals_by_gain(inputs, *unit)
        for unit in zip(targets.T, values, gains, strict=True)
    ]
