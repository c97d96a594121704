"""The main job through its own main: embedded data, real images through TFDS, interruption."""

import csv
import json

import numpy as np
import processes
import pytest
from absl import flags

import mofn_jax as mofn
from experiments import extract


def arguments(**options):
    return [f"--{name}={value}" for name, value in options.items()]


def run(workdir, **options):
    extract.main(["extract", *arguments(workdir=workdir, **options)])
    with open(workdir / "layers.csv") as file:
        return list(csv.DictReader(file))


def test_wine_from_training_to_tables(tmp_path, capsys):
    options = {"dataset": "wine", "network": "MLP", "betas": "0,0.5", "lengths": "2"}
    rows = run(tmp_path / "run", num_epochs=30, **options)
    assert [(row["layer"], row["beta"], row["max_literals"]) for row in rows] == [
        (layer, *choice)
        for layer in ("dense_0", "softmax")
        for choice in (("0.0", ""), ("0.5", ""), ("", "2"))
    ]
    assert all(float(row["literals"]) <= 2 for row in rows if row["max_literals"])
    files = {path.name for path in (tmp_path / "run").iterdir()}
    names = ["config.json", "landscape.png", "layers.csv", "params", "rules.json", "rules.txt"]
    assert files == {*names, "answers.txt"}
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["dataset"], config["betas"]) == ("wine", ["0", "0.5"])

    # The rules in the file, on the captured layers: the errors in the file and in the table.
    rules = mofn.rules_from_json((tmp_path / "run/rules.json").read_text())
    softmax = [rule for rule in rules if rule.layer == "softmax" and rule.beta == 0.0]
    short = [rule for rule in rules if rule.max_literals == 2]
    assert len(short) == 128 + 3
    assert {rule.beta for rule in short} == {None}
    lines = (tmp_path / "run/rules.txt").read_text().splitlines()
    assert lines[-1] == f"at most 2 literals  {short[-1]}"
    dataset = mofn.load_dataset("wine")
    params = mofn.restore_params(tmp_path / "run/params")
    for split, errors, mean in (
        (dataset.train, [rule.error for rule in softmax], rows[3]["error"]),
        (dataset.test, [rule.held_out_error for rule in softmax], rows[3]["held_out_error"]),
    ):
        (layer,) = mofn.capture_layers(mofn.MLP(3), params, split.inputs, layers=["softmax"])
        targets = mofn.softmax_targets(layer.predictions, 3)
        wrong = (mofn.evaluate_rules(softmax, layer.inputs) != targets).mean(0)
        np.testing.assert_allclose(errors, wrong)
        assert float(mean) == pytest.approx(wrong.mean())

    printed = capsys.readouterr().out
    assert "held out error" in printed
    for about in ("its inputs", "what enters its softmax layer"):
        (line,) = (line for line in printed.splitlines() if line.startswith(f"about {about}, "))
        assert line in (tmp_path / "run/answers.txt").read_text()
    assert "softmax unit 0 <=> " in printed
    assert str(tmp_path / "run") in printed


def test_restored_parameters_give_the_same_rules(tmp_path):
    options = {"dataset": "wine", "network": "MLP", "betas": "0.1", "layers": "softmax"}
    first = run(tmp_path / "first", num_epochs=3, **options)
    again = run(tmp_path / "again", params=tmp_path / "first/params", **options)
    assert first == again
    texts = [(tmp_path / name / "rules.json").read_text() for name in ("first", "again")]
    assert texts[0] == texts[1]
    assert not (tmp_path / "again/params").exists()


def test_num_examples_and_max_literals(tmp_path, capsys):
    rows = run(
        tmp_path, dataset="3-of-5", network="MLP", num_epochs=1, num_examples=20, max_literals=2
    )
    assert max(float(row["literals"]) for row in rows) <= 2
    assert "found on 20 training examples, held out 32" in capsys.readouterr().out


def test_interrupted_after_a_layer_its_files_are_whole(tmp_path, monkeypatch):
    measure = mofn.explanation.measure_layer

    def interrupted(rules, layer, *rest):
        if layer.name == "softmax":
            raise KeyboardInterrupt
        return measure(rules, layer, *rest)

    monkeypatch.setattr(mofn.explanation, "measure_layer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, dataset="wine", network="MLP", num_epochs=1, betas="0.1", lengths="")
    files = {path.name for path in tmp_path.iterdir()}
    names = ["config.json", "landscape.png", "layers.csv", "params", "rules.json", "rules.txt"]
    assert files == set(names)
    rules = mofn.rules_from_json((tmp_path / "rules.json").read_text())
    assert {rule.layer for rule in rules} == {"dense_0"}
    assert len(rules) == 128


SMALL = {"dataset": "wine", "network": "MLP", "betas": "0,0.1", "search": "weight_order"}


def test_a_mesh_of_eight_devices_finds_the_same_rules(tmp_path):
    run(tmp_path / "one", num_epochs=2, **SMALL)
    options = arguments(
        workdir=tmp_path / "mesh",
        params=tmp_path / "one/params",
        mesh="units:4,examples:2",
        compilation_cache=tmp_path / "cache",
        **SMALL,
    )
    (printed,) = processes.run_side_by_side(["experiments.extract", *options], num_devices=8)
    assert "softmax unit 0 <=> " in printed
    texts = [(tmp_path / name / "rules.json").read_text() for name in ("one", "mesh")]
    assert texts[0] == texts[1]
    assert any((tmp_path / "cache").iterdir())  # what was compiled is kept


def test_two_processes_train_and_the_first_one_writes(tmp_path):
    several = {"mesh": "units:2,examples:2", "coordinator": processes.free_address()}
    several |= {"num_processes": 2, "num_epochs": 2, **SMALL}
    first, second = processes.run_side_by_side(
        *(
            ["experiments.extract", *arguments(process_id=i, workdir=tmp_path / f"{i}", **several)]
            for i in range(2)
        ),
        num_devices=2,
    )
    assert "softmax unit 0 <=> " in first
    assert "softmax" not in second
    assert not (tmp_path / "1").exists()
    run(tmp_path / "one", params=tmp_path / "0/params", **SMALL)
    texts = [(tmp_path / name / "rules.json").read_text() for name in ("0", "one")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"betas": "0,-1"}, flags.Error, "betas: '-1' is not a number of at least 0"),
        ({"lengths": "3,0"}, flags.Error, "lengths: '0' is not an integer of at least 1"),
        ({"betas": "x"}, flags.Error, "betas: 'x' is not a number"),
        ({"layers": "dense_5"}, ValueError, "layers: 'dense_5' is not known"),
        ({"dataset": "no_such"}, ValueError, "name: unknown dataset 'no_such'"),
        ({"params": "/nowhere"}, ValueError, "path: no parameters in /nowhere"),
        ({"search": "magic"}, flags.Error, "search"),
        ({"num_epochs": 0}, flags.Error, "num_epochs"),
        ({"size": 3}, flags.Error, "Unknown command line flag 'size'"),
        ({"mesh": "units"}, flags.Error, "mesh: expected the like of units:4,examples:2, got 'un"),
        ({"mesh": "units:1,units:1"}, flags.Error, "mesh: expected the like of units:4,examples:2"),
        ({"mesh": "rows:2"}, flags.Error, r"mesh \(axis\): 'rows' is not known"),
        ({"mesh": "units:999"}, flags.Error, "mesh: {'units': 999} takes 999 devices, there are"),
        ({"coordinator": "localhost:1"}, flags.Error, "several processes need --coordinator, --n"),
        ({"process_id": 0, "mesh": "units:2"}, flags.Error, "several processes need --coordinator"),
    ],
)
def test_bad_flags(tmp_path, options, error, message):
    settings = {"dataset": "wine", "network": "MLP", "num_epochs": 1, **options}
    with pytest.raises(error, match=message):
        run(tmp_path, **settings)


def test_help_lists_the_flags(capsys):
    with pytest.raises(SystemExit):
        extract.main(["extract", "--help"])
    printed = capsys.readouterr().out
    assert extract.__doc__ in printed
    assert "--betas" in printed
