"""What no public function accepts is refused at once, by a ValueError that names the argument."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import mofn_jax as mofn
from mofn_jax import outputs, plots, report

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((40, 5)).astype(np.float32)
WEIGHTS = RNG.standard_normal((5, 3)).astype(np.float32)
SUMS = INPUTS @ WEIGHTS
TARGETS = np.median(SUMS, axis=0) <= SUMS
LABELS = SUMS.argmax(1)
FRONT = mofn.extract_layer(WEIGHTS, INPUTS, TARGETS, search="weight_order")
RULES = mofn.select_rules(FRONT, 0.1)
RULE = mofn.Rule(0, 1, (mofn.Literal(0, 0.5, False),), 0.1, 0.1, 0.2)
LAYER = mofn.layer_from_arrays("fc", WEIGHTS, INPUTS, SUMS, LABELS)
IMAGES = RNG.random((12, 6, 6, 1)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 3, 1, 2)).astype(np.float32)
MAPS = np.stack([IMAGES[:, i : i + 4, j : j + 4, 0] for i in range(3) for j in range(3)], axis=-1)
CONVOLUTION = mofn.layer_from_arrays(
    "conv", KERNEL, IMAGES, MAPS @ KERNEL.reshape(9, 2), LABELS[:12], kind="conv"
)
LITERALS = [
    mofn.ordered_literals(w, t)
    for w, t in zip(WEIGHTS.T, mofn.best_thresholds(INPUTS, TARGETS).values.T, strict=True)
]
ORDER = mofn.prefix_order(5)
WORDS = mofn.pack_examples(TARGETS.T)
WINE = mofn.load_dataset("wine")
NETWORK = mofn.MLP(3, hidden=(4,))
PARAMS = NETWORK.init(jax.random.key(0), WINE.train.inputs[:1])["params"]
KEY = jax.random.key(0)

RAGGED = [[1, 2], [3]]
MASKED = np.ma.masked_greater(INPUTS, 1)
TOKENS = INPUTS.reshape(8, 5, 5)
TRACED = "is traced, but this works on arrays that are known"


def under_jit(function):
    """A function of one array, called where that is traced."""
    return lambda array: jax.jit(lambda x: function(x) and 0)(array)


def literal(**changes):
    return RULE._replace(literals=(RULE.literals[0]._replace(**changes),))


extract = partial(mofn.extract_layer, WEIGHTS)
network = partial(mofn.extract_network, NETWORK, PARAMS, WINE.train.inputs)
explain = partial(mofn.explain_layer, LAYER)
capture = partial(mofn.capture_layers, NETWORK, PARAMS)
score = partial(mofn.score_layer, LITERALS)
black_box = partial(mofn.explain_predictions, INPUTS, LABELS)
arrays = partial(mofn.layer_from_arrays, "fc", WEIGHTS, INPUTS, SUMS, LABELS)

CASES = [
    # arrays that are none, or not what they seem
    (extract, [RAGGED, TARGETS], {}, "inputs: expected an array of one shape"),
    (extract, [MASKED, TARGETS], {}, "inputs: holds values under a mask"),
    (extract, [INPUTS.astype(object), TARGETS], {}, "inputs: expected real numbers, got dtype obj"),
    (extract, [None, TARGETS], {}, "inputs: expected real numbers"),
    (extract, ["x", TARGETS], {}, "inputs: expected real numbers"),
    (
        extract,
        [TOKENS, TARGETS],
        {},
        r"inputs: .*got \[8, 5, 5\]; inputs.reshape\(-1, 5\) has a row",
    ),
    (extract, [INPUTS, TARGETS.astype(int)], {}, "targets: .*of zeros and ones, say targets > 0"),
    (extract, [INPUTS, LABELS], {}, "targets: expected booleans, .*say softmax_targets"),
    (under_jit(lambda x: extract(x, TARGETS)), [INPUTS], {}, f"inputs: {TRACED}"),
    (under_jit(mofn.pack_examples), [TARGETS], {}, f"truth: {TRACED}"),
    (under_jit(lambda y: mofn.softmax_targets(y, 3)), [LABELS], {}, f"predictions: {TRACED}"),
    (under_jit(capture), [WINE.train.inputs], {}, f"inputs: {TRACED}"),
    (capture, [RAGGED], {}, "inputs: expected an array of one shape"),
    (mofn.best_thresholds, [INPUTS, LABELS], {}, "targets: expected booleans"),
    (mofn.evaluate_rules, [RULES, MASKED], {}, "inputs: holds values under a mask"),
    (mofn.pack_examples, [np.full((2, 40), 2)], {}, "truth: expected booleans"),
    (mofn.pack_examples, [np.True_], {}, "truth: expected booleans"),
    # labels and numbers of classes
    (mofn.unit_thresholds, [SUMS, LABELS + 2**32, 2**33], {}, "num_classes: expected an integer"),
    (mofn.unit_thresholds, [SUMS, LABELS + 2**32, 3], {}, "predictions: expected labels in 0..2"),
    (mofn.unit_thresholds, [SUMS, LABELS, "3"], {}, "num_classes: expected an integer of at least"),
    (
        mofn.unit_thresholds,
        [SUMS, LABELS, None],
        {},
        "num_classes: expected an integer of at least",
    ),
    (mofn.unit_thresholds, [SUMS, LABELS * 0, True], {}, "num_classes: expected an integer"),
    (mofn.binarize_targets, [SUMS, LABELS, 3.0], {}, "num_classes: expected an integer"),
    (mofn.softmax_targets, [LABELS, "3"], {}, "num_classes: expected an integer"),
    (
        mofn.most_informative_positions,
        [SUMS, LABELS, 3],
        {},
        r"activations: expected shape \[any, a",
    ),
    (
        mofn.explain_predictions,
        [INPUTS[:2], [0, 2**31 - 1]],
        {},
        "predictions: class 2147483647 ma",
    ),
    (
        mofn.information_gain,
        [INPUTS[:, 0], LABELS + 7, 0.0, 3],
        {},
        "labels: expected labels in 0..",
    ),
    (
        mofn.information_gain,
        [INPUTS[:, 0], LABELS[:3], 0.0, 3],
        {},
        "labels: expected one for each",
    ),
    (
        mofn.information_gain,
        [INPUTS[:, 0], LABELS, np.zeros(3), 3],
        {},
        "threshold: expected a fin",
    ),
    (mofn.information_gain, [INPUTS[:, 0] * np.nan, LABELS, 0.0, 3], {}, "values: holds NaN"),
    (
        mofn.information_gain,
        [INPUTS[:, 0], LABELS, 0.0, "3"],
        {},
        "num_classes: expected an integer",
    ),
    # one number where several are asked, text where numbers are, truth values where integers are
    (explain, [], {"betas": 0.1}, "betas: expected a sequence, such as a list, got 0.1"),
    (explain, [], {"betas": "0.1"}, "betas: expected a sequence"),
    (explain, [], {"betas": ["1"]}, "betas: expected a finite number of at least 0, got '1'"),
    (explain, [], {"lengths": 3}, "lengths: expected a sequence"),
    (explain, [], {"lengths": [True]}, "lengths: expected an integer of at least 1, got True"),
    (explain, [], {"seed": None}, "seed: expected an integer"),
    (explain, [], {"seed": -1}, "seed: expected an integer"),
    (explain, [], {"seed": 2**32}, "seed: .*at most 4294967295"),
    (network, [], {"layers": "softmax"}, "layers: expected a sequence"),
    (capture, [WINE.train.inputs], {"layers": 3}, "layers: expected a sequence"),
    (capture, [WINE.train.inputs], {"batch_size": True}, "batch_size: expected an integer"),
    (extract, [INPUTS, TARGETS], {"max_literals": True}, "max_literals: expected an integer"),
    (extract, [INPUTS, TARGETS], {"memory_budget": 1e9}, "memory_budget: expected an integer"),
    (extract, [INPUTS, TARGETS], {"refine": "no"}, "refine: 'no' is not known"),
    (extract, [INPUTS, TARGETS], {"search": ["best"]}, "search: .* is not known"),
    (extract, [INPUTS, TARGETS], {"progress": 3}, "progress: expected a function or None"),
    (extract, [INPUTS, TARGETS], {"on_stage": "x"}, "on_stage: expected a function or None"),
    (extract, [INPUTS, TARGETS], {"exact_literals": "2"}, "exact_literals: expected an integer"),
    (mofn.select, [FRONT, "1"], {}, "beta: expected a finite number of at least 0, got '1'"),
    (mofn.select, [FRONT, True], {}, "beta: expected a finite number"),
    (mofn.select, [FRONT, [0.1]], {}, "beta: expected a finite number"),
    (mofn.select, [FRONT], {"max_literals": True}, "max_literals: expected an integer"),
    (mofn.complexity, [1.5, 2, 3], {}, "m: expected integers of at least 0"),
    (mofn.complexity, [1, -1, 3], {}, "num_literals: expected integers of at least 0"),
    (mofn.complexity, [1, 1, 3.0], {}, "num_inputs: expected an integer"),
    (mofn.complexity, [[1, 2], [1, 2, 3], 3], {}, "num_literals: shaped otherwise than m"),
    (mofn.prefix_order, [-1], {}, "num_literals: expected an integer of at least 0"),
    (mofn.prefix_order, ["2"], {}, "num_literals: expected an integer of at least 0"),
    (mofn.provable_literals, [-1], {}, "num_inputs: expected an integer of at least 1"),
    (mofn.refine_front, [FRONT, INPUTS, TARGETS], {"progress": 3}, "progress: expected a function"),
    # things of another kind, or none
    (mofn.select, [RULES, 0.1], {}, "front: expected a RuleFront, got a Rules"),
    (mofn.merge_fronts, [], {}, "fronts: expected at least one"),
    (mofn.merge_fronts, [FRONT, None], {}, "fronts: expected a RuleFront, got None"),
    (mofn.refine_front, [None, INPUTS, TARGETS], {}, "front: expected a RuleFront"),
    (mofn.evaluate_rules, [RULES[0], INPUTS], {}, "rules: expected a sequence, .*got a Rule"),
    (mofn.evaluate_rules, [["unit 3"], INPUTS], {}, r"rules\[0\]: expected a Rule"),
    (mofn.measure_held_out, [RULES[0], INPUTS, TARGETS], {}, "rules: expected a sequence"),
    (mofn.answer_from_rules, [RULES[0], INPUTS, LABELS], {}, "rules: expected a sequence"),
    (mofn.format_rule, [None], {}, "rule: expected a Rule"),
    (mofn.format_rule, [RULE, "ab"], {}, "input_names: expected a sequence"),
    (mofn.format_literals, [RULES], {}, "rule: expected a Rule"),
    (mofn.rules_to_json, [RULES[0]], {}, "rules: expected a sequence"),
    (
        mofn.rules_to_json,
        [[RULE._replace(error=np.nan)]],
        {},
        r"rules\[0\].error: expected a finite",
    ),
    (mofn.explain_layer, [None], {}, "layer: expected a Layer"),
    (explain, [], {"held_out": 3}, "held_out: expected a Layer"),
    (mofn.layer_targets, [None, None], {}, "layer: expected a Layer"),
    (mofn.make_mesh, [[1, 1]], {}, "sizes: expected sizes by axis"),
    (mofn.make_mesh, [{"units": True}], {}, r"mesh \(size of units\): expected an integer"),
    (mofn.load_dataset, [None], {}, "name: expected a str"),
    (mofn.load_dataset, ["wine"], {"seed": None}, "seed: expected an integer"),
    (mofn.load_dataset, ["monks-1"], {"seed": -1}, "seed: expected an integer"),
    (mofn.load_dataset, ["wine"], {"data_dir": 3}, "data_dir: expected a path"),
    (mofn.train, [0, NETWORK, WINE], {}, "key: expected one key"),
    (mofn.train, [jax.random.split(KEY), NETWORK, WINE], {}, "key: expected one key"),
    (mofn.train, [KEY, None, WINE], {}, "network: expected a Module"),
    (mofn.train, [KEY, NETWORK, None], {}, "dataset: expected a Dataset"),
    (mofn.train, [KEY, NETWORK, WINE._replace(test=None)], {}, "dataset.test: expected a Split"),
    (mofn.train, [KEY, NETWORK, WINE], {"callback": 3}, "callback: expected a function"),
    (mofn.train, [KEY, NETWORK, WINE], {"num_epochs": True}, "num_epochs: expected an integer"),
    (mofn.save_params, [None, PARAMS], {}, "path: expected a path"),
    (mofn.restore_params, [None], {}, "path: expected a path"),
    (mofn.capture_layers, [NETWORK, None, INPUTS], {}, "params: expected a Linen module's"),
    (capture, [INPUTS], {}, "network: it cannot be traced for 2 examples with these params"),
    (capture, [WINE.train.inputs], {"call_kwargs": "x"}, "call_kwargs: expected arguments by name"),
    (network, [], {"on_layer": 3}, "on_layer: expected a function"),
    (network, [], {"held_out": WINE.test.inputs * np.nan}, "held_out: holds NaN"),
    (black_box, [], {"held_out": INPUTS}, "held_out: expected a pair"),
    (black_box, [], {"max_literals": None}, "max_literals: expected an integer"),
    (black_box, [], {"num_classes": 2}, "predictions: expected labels in 0..1"),
    (arrays, [], {"strides": 2}, "strides: is of a convolution"),
    # networks
    (mofn.MLP, ["3"], {}, "num_classes: expected an integer"),
    (mofn.MLP, [3], {"hidden": 8}, "hidden: expected a sequence"),
    (mofn.MLP, [3], {"hidden": [0]}, "hidden: expected an integer of at least 1"),
    (mofn.MLP, [3], {"activation": "gelu"}, "activation: 'gelu' is not known"),
    (mofn.CNN, [3], {"kernel_size": 3}, "kernel_size: expected a sequence"),
    (mofn.CNN, [3], {"kernel_size": (3, 3, 3)}, "kernel_size: expected rows and columns"),
    (mofn.CNN, [3], {"conv_blocks": (32, 64)}, "conv_blocks: expected a sequence"),
    (mofn.CNN, [3], {"padding": "FULL"}, "padding: 'FULL' is not known"),
    (mofn.Autoencoder, [3], {"code": "8"}, "code: expected an integer"),
    # literals and their scores
    (mofn.ordered_literals, [WEIGHTS[:, 0], np.zeros(3)], {}, r"thresholds: expected shape \[5\]"),
    (mofn.ordered_literals, [WEIGHTS[:, 0] * np.nan, np.zeros(5)], {}, "weights: holds NaN"),
    (
        mofn.ordered_literals,
        [WEIGHTS[:, 0], np.zeros(5), 0],
        {},
        "max_literals: expected an integer",
    ),
    (mofn.literal_truth, [LITERALS[0], INPUTS[:, :2]], {}, r"literals.inputs: expected .* in 0..1"),
    (mofn.literal_truth, [None, INPUTS], {}, "literals: expected a Literals"),
    (
        mofn.literal_truth,
        [mofn.Literals(np.array([-1]), np.array([0.5]), np.array([False])), INPUTS],
        {},
        r"literals.inputs: expected integers in 0..4, got \[-1\]",
    ),
    (score, [INPUTS, TARGETS.astype(int), ORDER], {}, "targets: expected booleans"),
    (score, [INPUTS, TARGETS[:, :2], ORDER], {}, "literals: expected those of 2 units, got 3"),
    (score, [INPUTS, TARGETS, mofn.prefix_order(2)], {}, "order: expected that of at least"),
    (score, [INPUTS, TARGETS, None], {}, "order: expected a PrefixOrder"),
    (score, [INPUTS, TARGETS, ORDER], {"memory_budget": 0}, "memory_budget: expected an integer"),
    (mofn.score_unit, [TARGETS, TARGETS[0], TARGETS[0]], {}, "literals: expected uint32"),
    (mofn.score_unit, [WORDS, WORDS[0, :1], WORDS[0]], {}, "target: expected uint32"),
    # layers whose fields do not belong together, positions that there are not
    (explain, [], {"held_out": LAYER._replace(inputs=INPUTS[:, :4])}, r"held_out.inputs: expected"),
    (mofn.explain_layer, [LAYER._replace(weights=WEIGHTS[:3])], {}, "layer.inputs: expected"),
    (mofn.explain_layer, [LAYER._replace(activations=SUMS[:5])], {}, "layer.activations: expected"),
    (mofn.explain_layer, [LAYER._replace(predictions=LABELS[:5])], {}, "layer.predictions: expect"),
    (mofn.explain_layer, [LAYER._replace(inputs=MASKED)], {}, "layer.inputs: holds values under a"),
    (mofn.explain_layer, [LAYER._replace(kind="magic")], {}, "layer.kind: 'magic' is not known"),
    (mofn.explain_layer, [LAYER._replace(groups=2)], {}, "layer.inputs: expected"),
    (mofn.patches, [CONVOLUTION, (1,)], {}, "position: expected row and column"),
    (mofn.patches, [CONVOLUTION, 1], {}, "position: expected a sequence"),
    (mofn.patches, [CONVOLUTION, (0.5, 1)], {}, "position: expected row and column"),
    (
        mofn.layer_targets,
        [CONVOLUTION, [[0, 0], [9, 9]]],
        {},
        "positions: expected integers from 0",
    ),
    (mofn.layer_targets, [CONVOLUTION, [[0, 0]]], {}, r"positions: expected shape \[2, 2\]"),
    (mofn.layer_targets, [LAYER, None, np.zeros(2)], {}, r"thresholds: expected shape \[3\]"),
    # rules that say what no rule says
    (
        mofn.evaluate_rules,
        [[literal(input=-1)], INPUTS],
        {},
        r"rules\[0\].literals\[0\].input: exp",
    ),
    (mofn.evaluate_rules, [[literal(threshold=np.nan)], INPUTS], {}, r"rules\[0\].*threshold: exp"),
    (
        mofn.evaluate_rules,
        [[literal(negated="false")], INPUTS],
        {},
        r"rules\[0\].*negated: expected",
    ),
    (
        mofn.evaluate_rules,
        [[RULE._replace(m="1")], INPUTS],
        {},
        r"rules\[0\].m: expected an integer",
    ),
    (mofn.evaluate_rules, [[RULE._replace(m=5)], INPUTS], {}, r"rules\[0\].m: .*at most 2, got 5"),
    # tables and pictures of nothing
    (report.format_table, [[]], {}, "rows: expected at least one"),
    (report.rows_to_csv, [[]], {}, "rows: expected at least one"),
    (report.layer_rows, [None], {}, "result: expected a LayerRules"),
    (plots.plot_landscape, [[]], {}, "rows: expected at least one"),
    (plots.plot_rule_card, [None, INPUTS, TOKENS], {}, r"rules\[0\]: expected a Rule"),
    (
        plots.plot_rule_card,
        [RULE, INPUTS, INPUTS[..., None]],
        {"examples": 3},
        "examples: expected",
    ),
    (
        plots.plot_rule_card,
        [RULE, INPUTS, INPUTS[..., None]],
        {"examples": [-1]},
        "examples: expect",
    ),
    # what a reviewer got through
    (mofn.information_gain, [[1, 2], [0, 1], 2, 2**31], {}, "num_classes: .*at most 2147483647"),
    (mofn.select, [FRONT._replace(num_examples=0), 0.1], {}, "front.num_examples: expected an int"),
    (
        mofn.select,
        [FRONT._replace(units=((), (), ())), 0.1],
        {},
        "front.units: expected at least on",
    ),
    (
        mofn.select,
        [FRONT._replace(on_counts=[1]), 0.1],
        {},
        "front.on_counts: expected an integer fo",
    ),
    (mofn.select, [FRONT._replace(on_counts=[1, 2, 99]), 0.1], {}, "front.on_counts: .*in 0..40"),
    (mofn.refine_front, [FRONT, INPUTS[::-1], TARGETS], {}, "inputs: .*not those that the front"),
    (extract, [INPUTS, TARGETS], {"search": max}, "search: expected a Search"),
    (extract, [INPUTS, TARGETS], {"search": mofn.MLP}, "search: expected a Search"),
    (
        extract,
        [INPUTS.astype(np.int64) + 2**60, TARGETS],
        {},
        r"inputs: expected integers up to 2\*\*53",
    ),
    (extract, [list(MASKED), TARGETS], {}, "inputs: holds values under a mask"),
    (
        score,
        [INPUTS, TARGETS, ORDER._replace(ranks=ORDER.ranks[:, :3])],
        {},
        "order: expected one t",
    ),
    (mofn.score_unit, [[[1]], [1], [1]], {}, "literals: expected uint32"),
    (
        mofn.literal_truth,
        [mofn.Literals([], np.zeros(3), []), INPUTS],
        {},
        "literals.inputs: has no",
    ),
    (mofn.provable_literals, [True], {}, "num_inputs: expected an integer"),
    (
        mofn.patches,
        [CONVOLUTION._replace(inputs=IMAGES * np.nan), (0, 0)],
        {},
        "layer.inputs: holds N",
    ),
    (
        explain,
        [],
        {"held_out": LAYER._replace(activations=SUMS * np.nan)},
        "held_out.activations: h",
    ),
    (explain, [], {"held_out": LAYER._replace(kind="softmax")}, "held_out: expected kind dense"),
    (mofn.explain_layer, [LAYER._replace(name=3)], {}, "layer.name: expected a str"),
    (
        mofn.explain_layer,
        [LAYER._replace(kind="conv")],
        {},
        "layer.weights: .* are not those of kin",
    ),
    (
        mofn.explain_layer,
        [LAYER._replace(kind="softmax", predictions=LABELS + 7)],
        {},
        "layer.predictions: expected labels in 0..2",
    ),
    (
        mofn.patches,
        [
            CONVOLUTION._replace(convolution=mofn.Convolution((0, 1), (1, 1), ((0, 0), (0, 0)))),
            (0, 0),
        ],
        {},
        "layer.convolution.strides: expected an integer of at least 1",
    ),
    (
        mofn.patches,
        [
            CONVOLUTION._replace(convolution=mofn.Convolution((2, 2), (1, 1), ((0, 0), (0, 0)))),
            (0, 0),
        ],
        {},
        r"layer.activations: expected positions \[2, 2\]",
    ),
    (
        capture,
        [WINE.train.inputs],
        {"call_kwargs": {1: 2}},
        "call_kwargs: expected arguments by na",
    ),
    (
        mofn.capture_layers,
        [mofn.MLP, PARAMS, WINE.train.inputs],
        {},
        "network: expected a Linen mod",
    ),
    (mofn.capture_layers, [NETWORK, {"a": "text"}, INPUTS], {}, r"params \(a\): expected an array"),
    (mofn.capture_layers, [lambda p, x: p["a"], {}, INPUTS], {}, "network: it cannot be traced"),
    (
        mofn.capture_layers,
        [lambda p, x: x @ p, WEIGHTS * np.nan, INPUTS],
        {"predictions": LABELS},
        "params: the weights of .* hold NaN",
    ),
    (
        mofn.capture_layers,
        [lambda p, x: x @ p, WEIGHTS, np.full((4, 5), 2**32 + 1)],
        {},
        "inputs: too large",
    ),
    (network, [], {"held_out_predictions": [0]}, "held_out_predictions: expected with predictions"),
    (mofn.train, [np.zeros(3, np.uint32), NETWORK, WINE], {}, "key: expected one key"),
    (
        mofn.train,
        [KEY, NETWORK, WINE._replace(num_classes=None)],
        {},
        "dataset.num_classes: expect",
    ),
    (mofn.make_mesh, [{"units": 2**33, "examples": 2**31}], {}, "mesh: .*devices"),
    (mofn.load_dataset, ["wine"], {"data_dir": "~nobody_at_all/x"}, "data_dir: expected a path"),
    (mofn.save_params, ["a\0b", PARAMS], {}, "path: expected a path"),
    (mofn.format_rule, [RULE, [None] * 3], {}, "input_names: expected a str"),
    (report.rows_to_csv, [[1]], {}, "rows: expected NamedTuples of one kind"),
    (plots.plot_landscape, [[1]], {}, "rows: expected at least one, as layer_rows"),
]


def name_of(case):
    return re.sub(r"\W+", "_", case[3])[:40]


@pytest.mark.parametrize("case", CASES, ids=map(name_of, CASES))
def test_it_is_refused_by_name(case):
    function, arguments, options, message = case
    with pytest.raises(ValueError, match=f"^{message}"):
        function(*arguments, **options)
    plt.close("all")


def test_results_of_nothing_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="results: expected at least one"):
        outputs.write_results(tmp_path / "run", [])
    assert not (tmp_path / "run").exists()


def test_a_wrong_option_is_refused_before_the_network_is_run():
    def never(params, inputs):
        raise AssertionError("the network was called")

    for options in ({"betas": 1}, {"seed": None}, {"search": "magic"}, {"exact_literals": 0}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))}: "):
            mofn.extract_network(never, {}, INPUTS, **options)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_order_of_bytes_makes_no_difference(order):
    def swapped(array):
        return array.astype(array.dtype.newbyteorder(order))

    front = mofn.extract_layer(swapped(WEIGHTS), swapped(INPUTS), TARGETS, search="weight_order")
    assert mofn.select_rules(front, 0.1) == RULES
    np.testing.assert_array_equal(
        mofn.unit_thresholds(swapped(SUMS), swapped(LABELS), 3),
        mofn.unit_thresholds(SUMS, LABELS, 3),
    )


def test_what_is_legal_stays_legal():
    masked = np.ma.masked_array(INPUTS, mask=False)  # nothing is masked
    lists = WEIGHTS.tolist(), masked, TARGETS.tolist()
    front = mofn.extract_layer(*lists, search="weight_order")
    assert mofn.select_rules(front, jnp.float32(0.1)) == mofn.select_rules(FRONT, np.float32(0.1))
    assert mofn.information_gain([1, 2], [0, 1], 2, 2) == pytest.approx(np.log(2))
    gain = jax.jit(partial(mofn.information_gain, num_classes=3))
    values = jax.vmap(gain, (1, None, None))(INPUTS, LABELS, 0.0)
    assert values.shape == (5,)
    assert mofn.explain_layer(LAYER, betas=(b for b in [0.1]), search="weight_order").rules[0.1]


def test_numbers_of_every_width():
    options = {
        "search": "stepwise",
        "stepwise_literals": np.int8(3),
        "memory_budget": np.int16(30_000),
    }
    narrow = mofn.extract_layer(WEIGHTS, INPUTS, TARGETS, **options)
    wide = mofn.extract_layer(WEIGHTS, INPUTS, TARGETS, search="stepwise", stepwise_literals=3)
    assert str(narrow) == str(wide)
    assert mofn.complexity(np.uint8(1), np.uint8(255), 300) == mofn.complexity(1, 255, 300)
    assert mofn.complexity(2, np.array([100], np.int8), 200) == mofn.complexity(2, 100, 200)
    many = FRONT._replace(num_examples=200_000)
    for beta in (np.float16(0.375), jnp.bfloat16(0.375), np.array(0.375), 2**100, np.int8(1)):
        assert mofn.select(many, beta) == mofn.select(many, float(beta))
    result = mofn.explain_layer(LAYER, betas=np.array([0.1]), search="weight_order")
    assert result.at(beta=0.1) == result.at(beta=np.float64(0.1))
    labels = jnp.array(LABELS, jnp.int4)
    assert mofn.explain_predictions(INPUTS, labels, search="weight_order").rules


def test_inputs_beyond_float32():
    large = INPUTS.astype(np.float64) * 1e39
    answers = mofn.explain_predictions(
        large, LABELS, search="weight_order", held_out=(large, LABELS)
    )
    assert answers.fidelity == answers.held_out_fidelity
    assert 0 <= answers.tree_fidelity <= 1


def test_a_search_may_take_its_options_by_place():
    def search(literals, inputs, targets, max_literals=None, resources=None):
        return FRONT

    assert extract(INPUTS, TARGETS, search=search) is FRONT
