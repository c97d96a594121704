"""The landscape experiment through its own main: whole, and stopped and taken up again."""

import csv
import subprocess
import sys
import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
from absl import flags
from processes import ROOT
from sklearn.tree import DecisionTreeClassifier

import mofn_jax as mofn
from experiments import landscape, rivals, trained

METHODS = ("weight order", "best")


def flags_of(folder, name, **options):
    return {
        "workdir": folder / name,
        "trained": folder / "trained",
        "dataset": "wine",
        "networks": "SmallMLP",
        "num_epochs": 3,
        "betas": "0,0.1",
        "lengths": "",
        "shown_betas": "0.1",
        **options,
    }


def run(folder, name, **options):
    options = flags_of(folder, name, **options)
    landscape.main(["landscape", *(f"--{key}={value}" for key, value in options.items())])
    with open(folder / name / "landscape.csv") as file:
        return list(csv.DictReader(file))


def test_every_layer_of_every_network(tmp_path, capsys, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    rows = run(tmp_path, "run", seeds="0,1")
    monkeypatch.undo()
    assert len(rows) == 2 * 2 * 3 * 2 * 2  # activations, seeds, layers, searches, betas
    paper, best = (
        {(*list(row.values())[:4], row["layer"], row["beta"]): row for row in some}
        for some in ([row for row in rows if row["method"] == method] for method in METHODS)
    )
    for key, row in paper.items():
        losses = [
            float(r["error"]) + float(r["beta"]) * float(r["complexity"]) for r in (row, best[key])
        ]
        assert losses[1] <= losses[0]
    for search in ("weight_order", "best"):
        path = tmp_path / f"run/cases/wine-SmallMLP-relu-0-3/softmax-{search}.rules.json"
        rules = mofn.rules_from_json(path.read_text())
        assert {(rule.layer, rule.beta) for rule in rules} == {("softmax", 0), ("softmax", 0.1)}
    table = (tmp_path / "run/landscape.md").read_text()
    assert table in capsys.readouterr().out
    lines = [line for line in table.splitlines() if line.startswith("| SmallMLP")]
    assert len(lines) == 2 * 3 * 2  # activations, layers, searches
    values = [
        [
            float(r[name])
            for r in rows
            if (r["activation"], r["layer"], r["method"], r["beta"]) == of
        ]
        for of in [("tanh", "softmax", "best", "0.1")]
        for name in ("held_out_error", "literals")
    ]
    (line,) = [line for line in lines if "tanh" in line and "softmax" in line and "best" in line]
    error, literals = map(np.mean, values)
    assert line.endswith(f" | {100 * error:.2f} · {literals:.1f} |")
    assert "| softmax (8 inputs) | 3 units |" in line
    assert (tmp_path / "run/SmallMLP.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "run/softmax_rules.txt").read_text().splitlines()
    heads = [line for line in lines if line.startswith("wine")]
    assert heads == [
        f"wine-SmallMLP-{activation}-0-3, {search}, beta 0.1"  # of the first seed, at shown betas
        for activation in ("relu", "tanh")
        for search in ("weight_order", "best")
    ]
    start = lines.index("wine-SmallMLP-relu-0-3, best, beta 0.1") + 1
    assert lines[start : start + 3] == [str(rule) for rule in rules if rule.beta == 0.1]

    titles = [ax.get_title() for ax in figures[-1].axes]
    assert titles == [
        f"SmallMLP, {activation}: {search}" for search in METHODS for activation in ("relu", "tanh")
    ]
    for ax, (activation, search) in zip(
        figures[-1].axes,
        [(a, s) for s in METHODS for a in ("relu", "tanh")],
        strict=True,
    ):
        some = [row for row in rows if (row["activation"], row["method"]) == (activation, search)]
        curves = [line for line in ax.lines if len(line.get_xdata()) == 2]
        drawn = sorted(y for line in curves for y in line.get_ydata())
        expected = [
            np.mean([float(r[side]) for r in some if (r["layer"], r["beta"]) == (layer, beta)])
            for side in ("error", "held_out_error")
            for layer in ("dense_0", "dense_1", "softmax")
            for beta in ("0.0", "0.1")
        ]
        np.testing.assert_allclose(drawn, sorted(expected))
        low, high = ax.get_ylim()
        assert low == 0
        assert all(line.get_ydata().max() < high for line in ax.lines if len(line.get_ydata()))
    plt.close("all")


def test_rules_and_trees_by_number_of_literals(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    options = {"activations": "relu", "layers": "softmax", "searches": "best", "betas": "0.1"}
    rows = run(tmp_path, "run", lengths="1,4", **options)
    monkeypatch.undo()
    assert [(row["method"], row["beta"], row["max_literals"]) for row in rows] == [
        ("best", "0.1", ""),
        ("best", "", "1"),
        ("best", "", "4"),
        ("decision tree", "", "1"),
        ("decision tree", "", "4"),
    ]
    for few, more in (rows[1:3], rows[3:]):
        assert float(few["error"]) >= float(more["error"])
        assert float(few["literals"]) <= 1
        assert float(few["complexity"]) < float(more["complexity"])
    text = (tmp_path / "run/softmax_rules.txt").read_text()
    names = ("beta 0.1", "1 literals", "4 literals")
    heads = [f"wine-SmallMLP-relu-0-3, best, {name}" for name in names]
    assert [line for line in text.splitlines() if line.startswith("wine")] == heads
    table = (tmp_path / "run/landscape.md").read_text()
    assert table.count("| method | 1 | 4 |") == 2  # held out, and where they were found
    (ax,) = figures[-1].axes
    for method, some in (("best", rows[1:3]), ("decision tree", rows[3:])):
        (line,) = [line for line in ax.lines if line.get_label() == method]
        assert list(line.get_xdata()) == [1, 4]
        assert list(line.get_ydata()) == [float(row["held_out_error"]) for row in some]
    plt.close("all")


def test_trees_learn_what_the_rules_are_about(tmp_path):
    """At every position, and each filter at its own: against trees grown here, one by one."""
    options = {"networks": "CNN", "dataset": "digits", "activations": "relu", "num_epochs": 1}
    options |= {"layers": "conv_1", "searches": "weight_order", "betas": "1", "num_examples": 150}
    rows = run(tmp_path, "run", lengths="2", shown_betas="1", **options)
    assert [(row["positions"], row["method"], row["which"], row["units"]) for row in rows] == [
        (place, method, "all", "64")
        for place in ("all", "most_informative")
        for method in ("weight order", "weight order", "decision tree")
    ]
    values = flags.FlagValues()
    trained.define_flags(values, networks=["CNN"], seeds=[0])
    values(["x", f"--trained={tmp_path / 'trained'}", "--num_epochs=1"])
    network, params, digits, _ = trained.train_or_restore(
        trained.Case("digits", "CNN", "relu", 0), values
    )
    layer, other = (
        mofn.capture_layers(network, params, inputs, layers=["conv_1"])[0]
        for inputs in trained.sides(digits, 150)
    )
    result = mofn.explain_layer(
        layer, search="weight_order", betas=[1], positions="most_informative"
    )
    errors = []
    for unit, rule in enumerate(result.rules[1]):
        sides = []
        for side in (layer, other):
            row, column = rule.position
            window = side.inputs[:, row : row + 3, column : column + 3].reshape(
                len(side.inputs), -1
            )
            target = side.activations[:, row, column, unit] >= (rule.unit_threshold or np.inf)
            sides.append((window, target))
        (inputs, target), (held_out, other_target) = sides
        if target.any() and not target.all():
            tree = DecisionTreeClassifier(max_leaf_nodes=3, random_state=0).fit(inputs, target)
            errors.append((tree.predict(held_out) != other_target).mean())
    assert float(rows[-1]["held_out_error"]) == pytest.approx(np.mean(errors))
    # Found on pairs of examples and positions, of which none is held out.
    assert 0 < float(rows[2]["error"]) < float(rows[2]["baseline_error"])


def test_of_many_inputs_some_units_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(rivals, "_MOST_INPUTS", 10)
    monkeypatch.setattr(rivals, "_DRAWN", 3)
    options = {"activations": "relu", "layers": "dense_0", "searches": "best", "betas": "0.1"}
    rows = run(tmp_path, "run", lengths="4", **options)
    assert [(row["method"], row["which"], row["units"]) for row in rows] == [
        ("best", "all", "16"),
        ("best", "all", "16"),
        ("best", "drawn", "3"),
        ("best", "drawn", "3"),
        ("decision tree", "drawn", "3"),
    ]
    assert rows[3]["baseline_error"] == rows[4]["baseline_error"] != rows[1]["baseline_error"]
    path = tmp_path / "run/cases/wine-SmallMLP-relu-0-3/dense_0-best.rules.json"
    rules = mofn.rules_from_json(path.read_text())
    short = [rule for rule in rules if rule.max_literals == 4 and rule.baseline_error > 0]
    drawn = rivals.draw_units(len(short), 13, 0)
    some = [short[i].held_out_error for i in drawn]
    assert float(rows[3]["held_out_error"]) == pytest.approx(np.mean(some))
    assert "| 3 drawn units |" in (tmp_path / "run/landscape.md").read_text()


def seen(folder, pattern):
    try:
        return any(folder.rglob(pattern))
    except FileNotFoundError:  # a temporary folder that went away meanwhile
        return False


def test_killed_and_taken_up_again(tmp_path):
    options = {"activations": "relu", "num_epochs": 2}
    whole = run(tmp_path / "whole", "run", **options)
    killed = tmp_path / "killed"
    arguments = [f"--{key}={value}" for key, value in flags_of(killed, "run", **options).items()]
    command = [sys.executable, "-m", "experiments.landscape", *arguments]
    # While the network is saved, and between the rules of a layer and their rows.
    for pattern in ("params*", "dense_0-weight_order*"):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        with process:
            while not seen(killed, pattern):
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.01)
            process.kill()
    assert run(killed, "run", **options) == whole


def test_stopped_and_taken_up_again(tmp_path, monkeypatch):
    whole = run(tmp_path, "whole")
    explain, done = mofn.explain_layer, []

    def interrupted(layer, **options):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(layer.name)
        return explain(layer, **options)

    monkeypatch.setattr(mofn, "explain_layer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "stopped")
    monkeypatch.undo()
    redone = []
    monkeypatch.setattr(
        mofn, "explain_layer", lambda layer, **o: redone.append(layer.name) or explain(layer, **o)
    )
    assert run(tmp_path, "stopped") == whole
    assert len(redone) == 12 - 4  # activations, layers, searches
    for path in (tmp_path / "whole").rglob("*.rules.json"):
        other = tmp_path / "stopped" / path.relative_to(tmp_path / "whole")
        assert path.read_text() == other.read_text()


def test_some_layers_beside_those_done_before(tmp_path):
    some = run(tmp_path, "run", activations="relu", layers="softmax")
    assert {row["layer"] for row in some} == {"softmax"}
    more = run(tmp_path, "run", activations="relu", layers="dense_1")
    assert [row for row in more if row["layer"] == "softmax"] == some
    assert {row["layer"] for row in more} == {"dense_1", "softmax"}


def test_other_flags_need_another_folder(tmp_path):
    run(tmp_path, "run", activations="relu")
    with pytest.raises(flags.Error, match=r"holds results of other flags \(betas\)"):
        run(tmp_path, "run", activations="relu", betas="0,1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": "SmallMLP,mlp"}, "flag --networks=.*one of them is not of .*'SmallMLP'"),
        ({"activations": "gelu"}, "flag --activations=.*one of them is not of"),
        ({"searches": "beem"}, "flag --searches=.*one of them is not of .*'best'"),
        ({"seeds": "0.5"}, "seeds: '0.5' is not an integer of at least 0"),
        ({"betas": "-1"}, "betas: '-1' is not a number of at least 0"),
        ({"layers": "dense_7", "num_epochs": 1}, "nothing to do: .*, or no network has the layers"),
        ({"networks": ""}, "nothing to do: no network"),
        ({"networks": "CNN"}, "networks: CNN needs images, wine has none"),
        ({"networks": "MLP,CNN"}, "networks: CNN needs images, wine has none"),
        ({"layers": "softmax,dense_7"}, "layers: no network has dense_7"),
        ({"layers": ""}, "flag --layers="),
        ({"searches": ""}, "flag --searches="),
        ({"positions": ""}, "flag --positions="),
        ({"positions": "some"}, "flag --positions=.*one of them is not of .*'most_informative'"),
        ({"betas": "", "shown_betas": ""}, "betas: expected at least one number, or lengths"),
        ({"seeds": ""}, "nothing to do: no network, activation or seed"),
        ({"trained": __file__}, "flag --trained=.* is not a folder"),
    ],
)
def test_flags_it_does_not_take(tmp_path, monkeypatch, options, message):
    monkeypatch.setattr(trained, "train", None)
    with pytest.raises(flags.Error, match=message):
        run(tmp_path, "run", **options)
    assert not any(tmp_path.iterdir())


def test_betas_to_show_that_are_not_searched(tmp_path):
    with pytest.raises(ValueError, match=r"shown_betas: 0\.5 is not known"):
        run(tmp_path, "run", shown_betas="0.5")
    assert not any(tmp_path.iterdir())


def test_a_complete_table_holds_nothing_out(tmp_path):
    options = {"dataset": "3-of-5", "activations": "relu", "layers": "softmax"}
    rows = run(tmp_path, "run", searches="weight_order", **options)
    assert {row["held_out_error"] for row in rows} == {""}
    table = (tmp_path / "run/landscape.md").read_text(encoding="utf-8")
    assert "on the whole table, where the rules were found" in table
    assert "held-out" not in table
    assert "nan" not in table


def test_default_betas_to_show_that_are_not_searched(tmp_path):
    given = flags_of(tmp_path, "run", betas="0.5", activations="relu", layers="softmax")
    del given["shown_betas"]
    landscape.main(["landscape", *(f"--{key}={value}" for key, value in given.items())])
    table = (tmp_path / "run/landscape.md").read_text(encoding="utf-8")
    assert "| method | 0.5 |" in table
    assert "held-out examples" in table
