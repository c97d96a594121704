"""The script for layers of networks trained elsewhere, through its own main."""

import json

import numpy as np
import pytest
from absl import flags
from content import page_data

import mofn_jax as mofn
from experiments import extract_arrays


@pytest.fixture
def arrays(tmp_path):
    """A hidden layer of 3 units, and a softmax layer of 2 above it; saved in many formats."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((200, 5)).astype(np.float32)
    weights = np.array([[1, 0, 2], [1, 0, 0], [1, -1, 0], [0, 2, 0], [0, 0, 0.5]], np.float32)
    hidden = np.maximum(inputs @ weights, 0)
    top = np.array([[1, -1], [1, 0], [-1, 2]], np.float32)
    logits = hidden @ top
    np.save(tmp_path / "inputs.npy", inputs)
    np.savetxt(tmp_path / "weights.csv", weights, delimiter=",")
    np.savetxt(tmp_path / "hidden.csv", hidden, delimiter=",", header="a,b,c", comments="")
    np.savez(tmp_path / "top.npz", kernel=top.T, bias=np.zeros(2))
    np.save(tmp_path / "classes.npy", logits.argmax(1))
    np.savez(tmp_path / "logits.npz", logits)
    return tmp_path


def run(arrays, **options):
    extract_arrays.main(
        ["extract_arrays", *(f"--{name}={value}" for name, value in options.items())]
    )
    return mofn.rules_from_json((arrays / "run/rules.json").read_text())


def hidden_options(arrays):
    return {
        "kind": "hidden",
        "name": "first",
        "weights": arrays / "weights.csv",
        "inputs": arrays / "inputs.npy",
        "activations": arrays / "hidden.csv",
        "outputs": arrays / "logits.npz",
        "workdir": arrays / "run",
        "lengths": "",
    }


def test_hidden_layer(arrays, capsys):
    rules = run(arrays, **hidden_options(arrays), betas="0,0.1")
    assert {rule.layer for rule in rules} == {"first"}
    assert [rule.unit for rule in rules] == [0, 1, 2] * 2
    hidden = np.loadtxt(arrays / "hidden.csv", delimiter=",", skiprows=1)
    exact = rules[:3]
    says = mofn.evaluate_rules(exact, np.load(arrays / "inputs.npy"))
    on = hidden >= [rule.unit_threshold for rule in exact]
    # 160 examples to find rules on and 40 held out make up the whole
    np.testing.assert_allclose(
        [160 * rule.error + 40 * rule.held_out_error for rule in exact], (says != on).sum(0)
    )
    printed = capsys.readouterr().out
    assert "found on 160 examples, held out 40" in printed
    assert f"open first: {arrays / 'run/report.html'}" in printed
    data = page_data((arrays / "run/report.html").read_text())
    (layer,) = data["layers"]
    assert [layer["name"], len(layer["units"]), len(data["numbers"])] == ["first", 3, 40]
    assert json.loads((arrays / "run/config.json").read_text())["seed"] == 0


def test_softmax_layer(arrays):
    rules = run(
        arrays,
        weights=f"{arrays / 'top.npz'}:kernel",
        transpose_weights=True,
        inputs=arrays / "hidden.csv",
        outputs=arrays / "classes.npy",
        held_out=0,
        workdir=arrays / "run",
    )
    assert {rule.unit for rule in rules} == {0, 1}
    assert all(rule.unit_threshold is None and rule.held_out_error is None for rule in rules)
    assert all(rule.error <= rule.baseline_error < 0.5 for rule in rules)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "nowhere.npy"}, "weights: no file nowhere.npy"),
        ({"weights": "table.xls"}, r"weights \(ending of table.xls\): '.xls' is not known"),
        ({"weights": "{}/top.npz"}, r"weights: .*top.npz holds \['kernel', 'bias'\]; say which"),
        ({"weights": "{}/top.npz:size"}, r"weights \(array in .*\): 'size' is not known"),
        ({"weights": "{}/top.npz:kernel"}, r"weights: expected shape \[5, any\], got \[2, 3\]"),
        ({"activations": "{}/inputs.npy"}, r"activations: expected shape \[200, 3\]"),
        ({"outputs": "{}/weights.csv"}, r"outputs: expected shape \[200, any\]"),
        ({"outputs": "{}/negative.npy"}, "outputs: expected .*, or classes from 0"),
        ({"inputs": "{}/words.csv"}, "inputs: .*words.csv is not a table of numbers"),
        ({"kind": "softmax", "outputs": "{}/inputs.npy"}, "outputs: predict class 4, but weights"),
    ],
)
def test_bad_input(arrays, change, message):
    (arrays / "words.csv").write_text("size\n1\nlarge\n")
    np.save(arrays / "negative.npy", np.full(200, -1))
    changed = {name: value.format(arrays) for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        run(arrays, **(hidden_options(arrays) | changed))


def test_a_hidden_layer_needs_activations(arrays):
    options = hidden_options(arrays)
    del options["activations"]
    with pytest.raises(ValueError, match="activations: needed for a hidden layer"):
        run(arrays, **options)


@pytest.mark.parametrize("argument", ["--size=3", "stray", "--held_out=2", "--kind=output"])
def test_bad_command_line(arrays, argument):
    with pytest.raises(flags.Error):
        extract_arrays.main(["extract_arrays", "--weights=w.npy", "--inputs=x.npy", argument])


def test_neither_mesh_nor_budget_changes_the_rules(arrays):
    options = {**hidden_options(arrays), "betas": "0", "held_out": 0}
    rules = run(arrays, **options)
    assert rules == run(arrays, **options, mesh="units:1", memory_budget=10_000)
    assert rules[0].held_out_error is None


def test_names_of_inputs_and_classes(arrays, capsys):
    (arrays / "inputs.txt").write_text("\ufeffa\nb\nhue, in °\n", encoding="utf-8")
    (arrays / "classes.txt").write_text("ill\r\nwell\n", encoding="utf-8")
    options = hidden_options(arrays) | {
        "kind": "softmax",
        "weights": f"{arrays / 'top.npz'}:kernel",
        "transpose_weights": True,
        "inputs": arrays / "hidden.csv",
        "input_names": arrays / "inputs.txt",
        "class_names": arrays / "classes.txt",
    }
    del options["activations"]
    rules = run(arrays, **options, betas="0")
    assert [rule.unit_name for rule in rules] == ["ill", "well"]
    names = {literal.name for rule in rules for literal in rule.literals}
    assert names <= {"a", "b", "hue, in °"}
    assert "first class well <=> " in capsys.readouterr().out
    for file, text, message in [
        ("inputs.txt", "a\nb\n", "input_names: 2 names of 3 inputs .*inputs.txt"),
        ("classes.txt", "a\n\n", "class_names: expected a name on each line .*classes.txt"),
        ("classes.txt", "a\n", "class_names: 1 names of 2 classes .*classes.txt"),
    ]:
        before = (arrays / file).read_text(encoding="utf-8")
        (arrays / file).write_text(text)
        with pytest.raises(ValueError, match=message):
            run(arrays, **options, betas="0")
        (arrays / file).write_text(before, encoding="utf-8")
    with pytest.raises(ValueError, match=r"input_names: .*none\.txt cannot be read"):
        run(arrays, **(options | {"input_names": arrays / "none.txt"}), betas="0")


def test_a_byte_order_mark_costs_no_example(arrays):
    options = hidden_options(arrays)
    inputs = np.load(arrays / "inputs.npy")
    rows = "\n".join(",".join(map(repr, row)) for row in inputs.tolist())
    (arrays / "marked.csv").write_text(rows, encoding="utf-8-sig")
    rules = run(arrays, **options)
    options |= {"inputs": arrays / "marked.csv", "workdir": arrays / "marked"}
    run(arrays, **options)
    marked = mofn.rules_from_json((arrays / "marked/rules.json").read_text())
    assert [rule.error for rule in marked] == [rule.error for rule in rules]


@pytest.mark.parametrize("share", [0, 0.9])
def test_one_example_is_legal(arrays, share, capsys):
    for name, row in {"x": "1,2,3", "o": "0.5,2"}.items():
        (arrays / f"{name}.csv").write_text(f"{row}\n")
    (arrays / "w.csv").write_text("1,0\n0,1\n1,1\n")
    files = {flag: arrays / f"{flag[0]}.csv" for flag in ("weights", "outputs")}
    rules = run(arrays, **files, inputs=arrays / "x.csv", held_out=share, workdir=arrays / "run")
    assert {rule.unit for rule in rules} == {0, 1}
    assert {rule.error for rule in rules} == {0}
    assert "found on 1 examples, held out 0" in capsys.readouterr().out


@pytest.mark.parametrize("outputs", [[0, 1, 1, 0, 2], [[0], [1], [1], [0], [2]], [0.0, 1, 1, 0, 2]])
def test_classes_in_a_row_or_a_column(arrays, outputs):
    np.save(arrays / "o.npy", np.array(outputs))
    np.save(arrays / "x.npy", np.eye(5)[:, :3])
    np.save(arrays / "w.npy", np.eye(3))
    files = {flag: arrays / f"{name}.npy" for flag, name in FILES.items()}
    rules = run(arrays, **files, held_out=0, workdir=arrays / "run", betas="0.1", lengths="")
    assert [round(5 * rule.baseline_error) for rule in rules] == [2, 2, 1]


FILES = {"weights": "w", "inputs": "x", "outputs": "o"}


@pytest.mark.parametrize(
    "classes",
    [
        [0.5, 1],
        [-1, 0],
        [0, 2**31],
        [0, 3],
        [0, 1e300],
        [float("nan"), 1],
        ["a", "b"],
        [[[0]], [[1]]],
    ],
)
def test_classes_that_are_none(arrays, classes):
    np.save(arrays / "o.npy", np.array(classes))
    np.save(arrays / "x.npy", np.eye(2))
    np.save(arrays / "w.npy", np.ones((2, 3)))
    files = {flag: arrays / f"{name}.npy" for flag, name in FILES.items()}
    with pytest.raises(ValueError, match=r"^outputs: .*o\.npy"):
        run(arrays, **files, workdir=arrays / "run")
    assert not (arrays / "run").exists()


def test_activations_of_another_layer(arrays):
    rng = np.random.default_rng(0)
    np.save(arrays / "other.npy", rng.standard_normal((200, 3)))
    options = hidden_options(arrays) | {"activations": arrays / "other.npy"}
    with pytest.raises(ValueError, match=r"activations: they neither rise nor fall .*other.npy"):
        run(arrays, **options)


@pytest.mark.parametrize(
    "flag",
    ["--held_out=nan", "--held_out=-0.1", "--seed=-1", "--betas=nan", "--name=..", "--name="],
)
def test_numbers_that_are_none(arrays, flag):
    options = [f"--{name}={value}" for name, value in hidden_options(arrays).items()]
    with pytest.raises(flags.Error, match=flag[2:].split("=")[0]):
        extract_arrays.main(["extract_arrays", *options, flag])
    assert not (arrays / "run").exists()
