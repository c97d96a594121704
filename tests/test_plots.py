"""Pictures, by the data of what they draw."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from test_report import make_result

import mofn_jax as mofn
from mofn_jax import plots, report


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


def test_landscape_draws_a_curve_for_each_layer_and_kind_of_example():
    rows = [
        row
        for name in ("conv_0", "dense_0")
        for row in report.layer_rows(make_result()._replace(name=name))
    ]
    ax = plots.plot_landscape(rows)
    curves = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert len(curves) == 4
    for found, held_out in (curves[:2], curves[2:]):
        np.testing.assert_allclose(found.get_xdata(), [0.15, 0.15])
        np.testing.assert_allclose(found.get_ydata(), [0.2, 0.2])
        np.testing.assert_allclose(held_out.get_ydata(), [0.1, 0.1])
        assert (found.get_linestyle(), held_out.get_linestyle()) == ("-", "--")
        assert found.get_marker() == held_out.get_marker()
    assert curves[0].get_marker() != curves[2].get_marker()  # told apart without colour
    baselines = [line.get_ydata()[0] for line in ax.lines if list(line.get_xdata()) == [0]]
    np.testing.assert_allclose(baselines, [0.125, 0.125])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["conv_0", "dense_0", "on held-out examples", "constant rule"]
    assert {line.get_color() for line in ax.lines if list(line.get_xdata()) == [0]} == {"black"}
    assert [line.get_markerfacecolor() for line in curves[1::2]] == ["white", "white"]
    assert (ax.get_xscale(), ax.get_ylim()[0]) == ("symlog", 0)
    assert ax.get_xlabel() == "mean complexity of the rules (0 to 1)"
    assert ax.get_ylabel() == "mean error (share of examples)"


def test_landscape_of_rows_in_any_order_without_held_out_examples():
    rows = [
        report.layer_rows(make_result(held_out=False)._replace(name=name))[beta]
        for beta in (0, 1)
        for name in ("b", "a")
    ]
    ax = plots.plot_landscape(rows)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["b", "a", "constant rule"]


def test_landscape_draws_on_the_axes_it_is_given():
    _, ax = plt.subplots()
    assert plots.plot_landscape(report.layer_rows(make_result()), ax=ax) is ax


INPUTS = np.array([[0, 5, 1], [0, 7, 2], [0, 5, 4], [0, 6, 3]], np.uint8)
PICTURES = np.arange(4 * 2 * 3).reshape(4, 2, 3)  # the first black, the last pixel white


def make_rule(*literals, m=1):
    return mofn.Rule(7, m, literals, error=0.25, complexity=0.5, baseline_error=0.5)


def test_rule_card_shows_the_pictures_that_excite_each_input_most():
    rule = make_rule(mofn.Literal(1, 6.0, False), mofn.Literal(2, 1.5, True))
    axes = plots.plot_rule_card(rule, INPUTS, PICTURES, per_literal=3)
    assert axes.shape == (2, 3)
    shown = [[1, 3, 0], [2, 3, 1]]  # of equal values the first example
    for row, examples, values in zip(axes, shown, ("765", "432"), strict=True):
        for ax, example, value in zip(row, examples, values, strict=True):
            (image,) = ax.images
            np.testing.assert_allclose(image.get_array(), PICTURES[example] / 23)
            assert image.get_clim() == (0, 1)
            assert ax.get_title() == value
    labels = [row[0].get_ylabel() for row in axes]
    assert labels == [
        "x1 >= 6\nholds on 50% of all examples,\non 2 of the 3 that most excite it",
        "x2 < 1.5\nholds on 25% of all examples,\non 0 of the 3 that most excite it",
    ]
    figure = axes[0, 0].figure
    assert figure.get_suptitle() == (
        "unit 7 <=> 1 of {x1 >= 6, x2 < 1.5}\n(error 25.0%, baseline 50.0%, complexity 0.500)"
    )
    assert (
        figure.get_supxlabel() == "examples on which each literal's input is largest, and its value"
    )


def test_rule_card_shows_the_examples_asked_for_in_front():
    rule = make_rule(mofn.Literal(1, 6.0, False), mofn.Literal(2, 1.5, True))
    axes = plots.plot_rule_card(rule, INPUTS, PICTURES, per_literal=1, examples=[0, 3])
    assert axes.shape == (2, 3)
    for row, values in zip(axes, ("567", "134"), strict=True):
        assert [ax.get_title() for ax in row] == list(values)
        for ax, example in zip(row, (0, 3), strict=False):
            np.testing.assert_allclose(ax.images[0].get_array(), PICTURES[example] / 23)
    said = [[ax.get_xlabel() for ax in row] for row in axes]
    assert said == [["does not hold", "holds", ""], ["holds", "does not hold", ""]]
    assert axes[0, 0].get_ylabel() == (
        "x1 >= 6\nholds on 50% of all examples,\non 1 of the 1 that most excite it"
    )


def test_rule_card_texts_do_not_overlap():
    literals = [mofn.Literal(i, 0.123456, bool(i % 2)) for i in (0, 1, 2, 1, 0, 2, 1)]
    axes = plots.plot_rule_card(make_rule(*literals), INPUTS + 0.123456, PICTURES)
    figure = axes[0, 0].figure
    figure.draw_without_rendering()
    texts = [figure._suptitle, figure._supxlabel]
    texts += [ax.title for ax in axes.flat] + [row[0].yaxis.label for row in axes]
    boxes = [text.get_window_extent() for text in texts] + [ax.bbox for ax in axes.flat]
    for i, box in enumerate(boxes):
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


@pytest.mark.parametrize("channels", [1, 3])
def test_rule_card_of_pictures_with_channels_and_named_inputs(channels):
    pictures = np.stack([PICTURES == 23] * channels, axis=-1)
    rule = make_rule(mofn.Literal(2, 4.0, False))
    axes = plots.plot_rule_card(rule, INPUTS, pictures, input_names=["hue", "size", "age"])
    assert axes.shape == (1, 4)  # as many as there are
    assert axes[0, 0].get_ylabel().startswith("age >= 4\n")
    assert "1 of {age >= 4}" in axes[0, 0].figure.get_suptitle()
    last = axes[0, 1].images[0].get_array()
    np.testing.assert_array_equal(np.squeeze(last), np.squeeze(pictures[3]))


def test_rule_card_draws_on_the_figure_it_is_given():
    figure = plt.figure()
    left, right = figure.subfigures(1, 2)
    axes = plots.plot_rule_card(
        make_rule(mofn.Literal(2, 4.0, False)), INPUTS, PICTURES, figure=left
    )
    assert left.axes == list(axes.flat)
    axes = plots.plot_rule_card(make_rule(m=0), INPUTS, PICTURES * 0, figure=right)
    assert axes.shape == (0, 4)
    assert right.get_suptitle().startswith("unit 7 <=> true\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": INPUTS[:, :2]}, "inputs: the rules need at least 3 columns, got 2"),
        ({"inputs": INPUTS * np.nan}, "inputs: holds NaN or infinity"),
        ({"pictures": PICTURES[:3]}, r"pictures: expected shape \[4, any, any\], got \[3, 2, 3\]"),
        ({"pictures": PICTURES[0]}, r"pictures: expected shape \[4, any, any\], got \[2, 3\]"),
        ({"pictures": np.zeros((4, 2, 3, 2))}, "pictures: expected 1 or 3 channels, got 2"),
        ({"per_literal": 0}, "per_literal: expected an integer of at least 1, got 0"),
        ({"examples": [0, 4]}, "examples: expected indices below 4, got 4"),
    ],
)
def test_bad_input_to_rule_card(changes, message):
    arguments = {"inputs": INPUTS, "pictures": PICTURES, **changes}
    with pytest.raises(ValueError, match=message):
        plots.plot_rule_card(make_rule(mofn.Literal(2, 4.0, False)), **arguments)
    assert not plt.get_fignums()


def test_filter_rules_are_white_black_and_gray():
    weights = np.array([[0.5, -2.0, 0.0], [1.0, 0.0, -0.25]])
    literals = (mofn.Literal(1, 0.3, True), mofn.Literal(3, 0.1, False), mofn.Literal(5, 0.2, True))
    never = make_rule(m=1)
    rules = [make_rule(*literals, m=2), make_rule(*literals, mofn.Literal(5, 0.1, False)), never]
    axes = plots.plot_filter_rules(weights, rules)
    assert axes.shape == (4, 1)
    pictures = [ax.images[0] for ax in axes[:, 0]]
    np.testing.assert_array_equal(pictures[0].get_array(), weights / 2)
    np.testing.assert_array_equal(pictures[1].get_array(), [[0, -1, 0], [1, 0, -1]])
    assert pictures[2].get_array().mask.tolist() == [[False] * 3, [False, False, True]]
    assert not pictures[3].get_array().any()
    for picture in pictures:
        assert (picture.get_clim(), picture.get_cmap().name) == ((-1, 1), "gray")
    titles = [ax.get_title() for ax in axes[:, 0]]
    assert titles[0].strip() == "weights"
    assert [title.splitlines()[0] for title in titles[1:]] == ["2 of 3", "1 of 4", "false"]
    assert "error 25.0%" in titles[1]
    assert [text.get_text() for text in axes[2, 0].texts] == ["±"]
    axes[0, 0].figure.draw_without_rendering()
    bottoms = {round(ax.get_position().y0, 3) for ax in axes[:, 0]}
    assert len(bottoms) == 1  # side by side


def test_filter_rules_of_several_channels():
    weights = np.random.default_rng(0).standard_normal((3, 3, 2))
    rule = make_rule(mofn.Literal(5, 0.3, False))._replace(kernel_shape=(3, 3, 2))
    figure = plt.figure(layout="constrained").subfigures(1, 2)[1]
    axes = plots.plot_filter_rules(weights, [rule], figure=figure)
    assert axes.shape == (2, 2)
    assert all(ax.get_figure(root=False) is figure for ax in axes.flat)
    expected = np.zeros((3, 3))
    expected[0, 2] = 1  # input 5: row 0, column 2, channel 1
    np.testing.assert_array_equal(axes[1, 0].images[0].get_array(), np.zeros((3, 3)))
    np.testing.assert_array_equal(axes[1, 1].images[0].get_array(), expected)


@pytest.mark.parametrize(
    ("weights", "changes", "message"),
    [
        (np.zeros(3), {}, "weights: expected"),
        (np.full((3, 3), np.nan), {}, "weights: "),
        (np.zeros((1, 2)), {}, r"rules\[0\]: is not about a kernel of shape \[1, 2, 1\]"),
        (np.ones((3, 3)), {"kernel_shape": (3, 3, 2)}, r"rules\[0\]: is not about a kernel"),
        (np.ones((3, 3)), {"m": 7}, r"rules\[0\].m"),
    ],
)
def test_bad_input_to_filter_rules(weights, changes, message):
    rule = make_rule(mofn.Literal(5, 0.3, False))._replace(**changes)
    with pytest.raises(ValueError, match=message):
        plots.plot_filter_rules(weights, [rule])


def make_scores():
    """Literals of twelve examples in weight order, the errors of all rules, and the front."""
    rng = np.random.default_rng(3)
    inputs = rng.standard_normal((200, 12))
    targets = (inputs @ rng.uniform(1, 2, (12, 1)) + rng.standard_normal((200, 1))) > 1
    weights = rng.uniform(0.1, 1, (12, 1))
    front = mofn.extract_layer(weights, inputs, targets, search="weight_order")
    thresholds = mofn.best_thresholds(inputs, targets).values
    literals = mofn.ordered_literals(weights[:, 0], thresholds[:, 0])
    truth = mofn.literal_truth(literals, inputs)
    packed = (mofn.pack_examples(rows) for rows in (truth.T, targets[:, 0], targets[:, 0] | True))
    # Without those that are no more than shorter.
    least, in_both = 201, []
    for rule in front.units[0]:
        if rule.errors < least:
            in_both.append(rule)
            least = rule.errors
    return np.asarray(mofn.score_unit(*packed)), in_both


def test_scores_are_drawn_as_shares_with_the_front_of_the_search():
    errors, front = make_scores()
    assert len(front) > 3
    ax = plots.plot_scores(errors, mark_front=True)
    (image,) = ax.images
    drawn = image.get_array()
    for taken, m in np.ndindex(errors.shape):
        if m > taken + 1:
            assert drawn.mask[taken, m]
        else:
            assert drawn[taken, m] == pytest.approx(errors[taken, m] / 200)
    assert image.get_clim() == (0, pytest.approx(errors[0].min() / 200))
    cells, best = ax.lines
    marked = list(zip(cells.get_xdata(), cells.get_ydata(), strict=True))
    assert marked == [(rule.m, len(rule.literals.inputs)) for rule in front]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == marked[-1]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    m, taken = marked[-1]
    share = front[-1].errors / 200
    assert texts == ["front", f"least error: M = {m}, N = {taken}, {share:.1%}"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("M, literals needed", "N, literals taken")
    colorbar = image.colorbar.ax.get_ylabel()
    assert colorbar == "error (share of examples), up to the better constant rule's"


@pytest.mark.parametrize("errors", [[[3, 4]], [[0, 7, 7], [0, 2, 7]]])
def test_scores_without_literals_and_of_a_constant_unit(errors):
    _, ax = plt.subplots()
    assert plots.plot_scores(errors, ax=ax) is ax
    (best,) = ax.lines
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (0, 0)
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (np.zeros((3, 3), int), r"errors: expected shape \[N \+ 1, N \+ 2\], got \[3, 3\]"),
        (np.zeros(3, int), r"errors: expected shape \[any, any\], got \[3\]"),
        ([[0.5, 0.5]], "errors: expected counts"),
        ([[-1, 3]], "errors: expected counts"),
        ([[0, 0]], "errors: expected counts"),
    ],
)
def test_bad_input_to_scores(errors, message):
    with pytest.raises(ValueError, match=message):
        plots.plot_scores(errors)
    assert not plt.get_fignums()
