"""The experiment on optimality through its own main, on small data."""

import csv
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
import pytest
from absl import flags
from content import content
from sklearn.tree import DecisionTreeClassifier

import mofn_jax as mofn
from experiments import optimality, rivals, trained


def run(folder, **options):
    options = {
        "workdir": folder / "run",
        "trained": folder / "trained",
        "num_epochs": 2,
        "activations": "relu",
        "seeds": "0,1",
        "tables": "",
        "datasets": "",
        **options,
    }
    optimality.main(["optimality", *(f"--{name}={value}" for name, value in options.items())])
    return folder / "run"


def read(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def run_and_look(monkeypatch, folder, **options):
    """The folder, and the figures that were drawn."""
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    folder = run(folder, **options)
    monkeypatch.undo()
    return folder, figures


def curves(ax):
    """What an Axes' lines of several points show, by label."""
    lines = [line for line in ax.lines if len(line.get_xdata()) > 1]
    return {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in lines}


def test_gap_to_the_least_loss(tmp_path, capsys, monkeypatch):
    folder, figures = run_and_look(monkeypatch, tmp_path, tables="wine", betas="0,0.1,1", seeds="0")
    rows = read(folder / "gap.csv")
    assert {(row["layer"], row["inputs"]) for row in rows} == {
        ("dense_0", "13"),
        ("dense_1", "16"),
        ("softmax", "8"),
    }
    for row in rows:
        assert float(row["loss"]) >= float(row["least_loss"]) - 1e-12
        assert (float(row["optimal"]) == 1) == (
            float(row["loss"]) <= float(row["least_loss"]) + 1e-12
        )
        if row["method"] == "exact":
            assert float(row["optimal"]) == 1
    assert min(float(row["optimal"]) for row in rows if row["method"] == "weight order") < 1
    assert (folder / "gap.png").read_bytes().startswith(b"\x89PNG")
    (ax,) = figures[-1].axes
    drawn = curves(ax)
    assert set(drawn) == {"weight order", "exact", "stepwise"}
    for beta in (0, 0.1, 1):
        losses = [
            float(r["loss"]) for r in rows if (r["method"], float(r["beta"])) == ("exact", beta)
        ]
        assert drawn["exact"][beta] == pytest.approx(np.mean(losses))
    assert ax.get_xlim()[1] > 1  # the last marker is whole
    assert (folder / "gap.md").read_text() in capsys.readouterr().out


def test_budgets_of_literals(tmp_path, capsys, monkeypatch):
    folder, figures = run_and_look(
        monkeypatch, tmp_path, datasets="wine", networks="MLP", budgets="1,2,4"
    )
    rows = read(folder / "budgets.csv")
    errors = defaultdict(dict)
    for row in rows:
        assert (row["layer"], row["which"]) == ("softmax", "all")
        errors[row["seed"], float(row["literals"])][row["method"]] = float(row["error"])
        assert 0 <= float(row["held_out_error"]) <= 1
    assert len(errors) == 8
    for (_, budget), found in errors.items():
        assert found["best"] <= found["stepwise"]
        assert found["best"] <= found["weight order"]
        assert ("exact" in found) == (budget <= 3)
        if "exact" in found:
            assert found["best"] <= found["exact"] <= found["stepwise"]
        rivals = {"decision tree", "logistic regression"} & set(found)
        assert len(rivals) == (0 if budget == np.inf else 2)  # of any number there are only rules
        assert all(0 <= found[rival] < 0.5 for rival in rivals)
    assert (folder / "budgets.png").read_bytes().startswith(b"\x89PNG")
    (ax,) = figures[-1].axes
    for method, drawn in curves(ax).items():
        if method in ("weight order", "best", "decision tree", "logistic regression"):
            assert set(drawn) == {1, 2, 4}
            for budget, error in drawn.items():
                assert error == pytest.approx(held_out_error(rows, method, budget))
    lines = {line.get_label(): line.get_ydata()[0] for line in ax.lines if len(line.get_xdata())}
    assert 0 < lines["constant rule"] < ax.get_ylim()[1]
    any_number = held_out_error(rows, "weight order", np.inf)
    assert lines["weight order, any number"] == pytest.approx(any_number)
    assert (folder / "budgets.md").read_text().strip() in capsys.readouterr().out


def held_out_error(rows, method, literals):
    some = [row for row in rows if (row["method"], float(row["literals"])) == (method, literals)]
    return np.mean([float(row["held_out_error"]) for row in some])


def test_budgets_of_other_layers(tmp_path, monkeypatch):
    monkeypatch.setattr(rivals, "_MOST_INPUTS", 10)
    monkeypatch.setattr(rivals, "_DRAWN", 3)
    options = {"datasets": "wine", "networks": "MLP", "budgets": "2,3", "seeds": "0"}
    rows = read(run(tmp_path, layers="dense_0,code", **options) / "budgets.csv")
    assert {row["layer"] for row in rows} == {"dense_0"}  # the other is not a layer of it
    units = defaultdict(set)
    for row in rows:
        units[row["method"]].add((row["which"], int(row["units"])))
    ((_, most),) = units["exact"] - {("drawn", 3)}
    assert most > 3
    assert units["best"] == {("all", most), ("drawn", 3)}
    assert units["decision tree"] == units["logistic regression"] == {("drawn", 3)}
    with pytest.raises(flags.Error, match="conv_0 of CNN is not a dense layer"):
        run(tmp_path, layers="conv_0", **(options | {"datasets": "digits", "networks": "CNN"}))


def test_the_front_of_all_searches_is_that_of_the_default():
    rng = np.random.default_rng(0)
    weights, inputs = rng.standard_normal((20, 3)), rng.standard_normal((90, 20))
    side = rivals.Side(inputs, inputs @ weights > 1)
    literals, fronts = optimality.all_fronts(weights, side, 60, "layer")
    assert list(fronts) == ["weight order", "exact", "stepwise", "best"]
    assert content(fronts["best"]) == content(mofn.extract_layer(weights, *side))
    assert len(literals) == 3


def test_the_tree_of_few_tests_is_the_start_of_a_larger_one():
    rng = np.random.default_rng(0)
    inputs, held_out = rng.random((2, 300, 6), np.float32)
    target = (inputs[:, 0] > inputs[:, 1]) ^ (inputs[:, 2] > 0.7)
    sizes = [1, 2, 5, 12, 400]
    for size, grown in zip(sizes, rivals.grown_trees(sizes, inputs, target, held_out), strict=True):
        tree = DecisionTreeClassifier(max_leaf_nodes=size + 1, random_state=0).fit(inputs, target)
        for found, some in zip(grown[2:], (inputs, held_out), strict=True):
            np.testing.assert_array_equal(found, tree.predict(some))
        assert grown.length == length_of(tree.tree_)
        assert grown.tests == tree.tree_.n_leaves - 1


def length_of(tree, node=0, depth=0):
    """The tests on the paths to all leaves that say true."""
    left, right = tree.children_left[node], tree.children_right[node]
    if left < 0:
        return depth if tree.value[node, 0].argmax() == 1 else 0
    return length_of(tree, left, depth + 1) + length_of(tree, right, depth + 1)


def test_optimal_trees_have_the_fewest_errors():
    pytest.importorskip("pystreed")
    rng = np.random.default_rng(2)
    truth = rng.random((60, 4)) < 0.5
    target = (truth[:, 0] ^ truth[:, 2]) | (rng.random(60) < 0.1)
    sizes = [1, 2, 3]
    found = list(rivals.optimal_trees(sizes, truth, target, ~truth))

    def least(rows, tests):
        """Of all trees of so many tests, by trying them all."""
        errors = min(target[rows].sum(), (~target[rows]).sum())
        for test in range(4 if tests else 0):
            sides = rows & truth[:, test], rows & ~truth[:, test]
            for left in range(tests):
                both = least(sides[0], left) + least(sides[1], tests - 1 - left)
                errors = min(errors, both)
        return errors

    for size, tree in zip(sizes, found, strict=True):
        assert (tree.says != target).sum() == least(np.ones(60, bool), size)
    # Exclusive or: a literal and the other's negation, on two paths of two tests.
    assert (found[2].tests, found[2].length) == (3, 4)
    assert (found[2].held_out_says == (~truth[:, 0] ^ ~truth[:, 2])).all()
    assert len(list(rivals.optimal_trees(range(1, 30), truth, target, truth))) == 15


def test_regressions_have_as_many_weights_as_they_may():
    rng = np.random.default_rng(1)
    truth = rng.random((400, 12)) < 0.5
    target = truth[:, 3] & (truth[:, 5] | truth[:, 8])
    sizes = [1, 3, 12]
    found = list(rivals.linear_predictions(sizes, truth, target, ~truth))
    # Of one literal the majority is as good; of these three a regression can say it all.
    errors = [(says != target).mean() for says, _ in found]
    assert errors[0] <= target.mean()
    assert errors[1] == 0
    assert errors[2] < 0.02  # weighed as all that it may choose from
    held_out = ~truth
    assert (found[1][1] != held_out[:, 3] & (held_out[:, 5] | held_out[:, 8])).mean() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tables": "", "datasets": ""}, "nothing to do"),
        ({"seeds": ""}, "nothing to do"),
        ({"layers": ""}, "flag --layers="),
        ({"networks": "CNN"}, "networks: CNN needs images, wine has none"),
        ({"layers": "softmax,dense_7"}, "layers: no network has dense_7"),
        ({"datasets": "monks-1"}, "datasets: monks-1 is one table, with no examples to hold out"),
        ({"datasets": "digits", "networks": "CNN", "layers": "conv_0"}, "conv_0 of CNN is not a d"),
    ],
)
def test_flags_it_does_not_take(tmp_path, monkeypatch, options, message):
    monkeypatch.setattr(trained, "train", None)
    given = {"tables": "", "datasets": "wine", "networks": "MLP", "seeds": "0", **options}
    given = {"workdir": tmp_path / "run", "trained": tmp_path / "trained", **given}
    with pytest.raises(flags.Error, match=message):
        optimality.main(["optimality", *(f"--{name}={value}" for name, value in given.items())])
    assert not any(tmp_path.iterdir())
