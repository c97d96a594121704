"""The main job through its own main: embedded data, real images through TFDS, interruption."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import processes
import pytest
from absl import flags
from content import page_data

import mofn_jax as mofn
from experiments import extract, kept


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
    assert files == {*names, "answers.txt", "report.html"}
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["dataset"], config["betas"]) == ("wine", ["0", "0.5"])

    # The rules in the file, on the captured layers: the errors in the file and in the table.
    rules = mofn.rules_from_json((tmp_path / "run/rules.json").read_text())
    softmax = [rule for rule in rules if rule.layer == "softmax" and rule.beta == 0.0]
    short = [rule for rule in rules if rule.max_literals == 2]
    assert len(short) == 128 + 3
    assert {rule.beta for rule in short} == {None}
    lines = (tmp_path / "run/rules.txt").read_text().splitlines()
    said = [line.split("  ", 1)[1] for line in lines]
    each = {(rule.layer, rule.unit, rule.m, rule.literals) for rule in rules}
    assert len(lines) == len(each)
    assert set(said) == {str(rule) for rule in rules}
    assert ["softmax class" in line for line in lines] == sorted(
        ("softmax class" in line for line in lines), reverse=True
    )
    for line in lines:
        same = [rule for rule in rules if str(rule) == line.split("  ", 1)[1]]
        betas = ", ".join(f"{rule.beta:g}" for rule in same if rule.beta is not None)
        assert line.startswith(f"beta {betas}" if betas else "at most 2 literals  ")
        assert ("at most 2 literals" in line) == (None in {rule.beta for rule in same})
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
    for about in ("its inputs", "its inputs, shortly", "what enters its softmax layer"):
        (line,) = (line for line in printed.splitlines() if re.match(rf"about {about}, \d", line))
        assert line in (tmp_path / "run/answers.txt").read_text()
    assert "softmax class class_0 <=> " in printed
    # About the wines themselves, in at most three measures each.
    short = [line for line in printed.splitlines() if line.startswith("class class_")]
    assert len(short) == 3
    assert all(1 <= line.count(" >= ") + line.count(" < ") <= 3 for line in short)
    assert f"open first: {tmp_path / 'run/report.html'}" in printed
    page = (tmp_path / "run/report.html").read_text()
    layers = page_data(page)["layers"]
    shown = {(rule["m"], rule["error"]) for rule in layers[1]["units"][0]["rules"]}
    assert shown == {(r.m, r.error) for r in rules if (r.layer, r.unit) == ("softmax", 0)}
    assert "Rules about its inputs, shortly" in page
    text = (tmp_path / "run/rules.txt").read_text()
    hidden = [line for line in text.splitlines() if "  dense_0 unit" in line]
    assert any("alcohol >= 1" in line for line in hidden)  # in percent, not standard deviations
    assert str(tmp_path / "run") in printed


def test_restored_parameters_give_the_same_rules(tmp_path):
    options = {"dataset": "wine", "network": "MLP", "betas": "0.1", "layers": "softmax"}
    first = run(tmp_path / "first", num_epochs=3, **options)
    again = run(tmp_path / "again", params=tmp_path / "first/params", **options)
    assert first == again
    texts = [(tmp_path / name / "rules.json").read_text() for name in ("first", "again")]
    assert texts[0] == texts[1]
    assert not (tmp_path / "again/params").exists()


def test_the_network_is_one_that_takes_the_data(tmp_path):
    options = {"num_epochs": 1, "betas": "1", "lengths": "", "search": "weight_order"}
    rows = run(tmp_path / "table", dataset="wine", **options)
    assert [row["layer"] for row in rows] == ["dense_0", "softmax"]
    options |= {"num_examples": 200, "layers": "conv_0"}
    assert len(run(tmp_path / "images", dataset="digits", **options)) == 1


def test_num_examples_and_max_literals(tmp_path, capsys):
    rows = run(
        tmp_path, dataset="3-of-5", network="MLP", num_epochs=1, num_examples=20, max_literals=2
    )
    assert max(float(row["literals"]) for row in rows) <= 2
    assert "found on 20 training examples, held out 12" in capsys.readouterr().out


def test_interrupted_after_a_layer_its_files_are_whole(tmp_path, monkeypatch):
    measure = mofn.layer_rules.measure_layer

    def interrupted(rules, layer, *rest):
        if layer.name == "softmax":
            raise KeyboardInterrupt
        return measure(rules, layer, *rest)

    monkeypatch.setattr(mofn.layer_rules, "measure_layer", interrupted)
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
    assert "softmax class class_0 <=> " in printed
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
    assert "softmax class class_0 <=> " in first
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
        (
            {"process_id": 0, "num_processes": 1, "mesh": "units:1", "coordinator": "localhost:x"},
            flags.Error,
            "coordinator: expected HOST:PORT, got 'localhost:x'",
        ),
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


def test_flags_are_checked_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "train", None)
    mofn.save_params(tmp_path / "others", {"dense_0": {"kernel": np.ones((2, 3))}})
    (tmp_path / "file").write_text("keep me")
    before = sorted(tmp_path.rglob("*"))
    for options, message in [
        ({"layers": "dense_5"}, "layers: 'dense_5' is not known"),
        ({"layers": ""}, "flag --layers="),
        ({"betas": "", "lengths": ""}, "betas: expected at least one number, or lengths"),
        ({"params": tmp_path / "nowhere"}, "path: no parameters in"),
        ({"params": tmp_path / "file"}, "path: no parameters in"),
        ({"params": tmp_path / "others"}, "network: it cannot be traced"),
        ({"workdir": tmp_path / "file"}, "file is not a folder"),
        ({"data_dir": tmp_path / "file"}, "file is not a folder"),
        ({"network": "CNN"}, "networks: CNN needs images, wine has none"),
        ({"seed": -1}, "flag --seed=-1"),
    ]:
        given = {"dataset": "wine", "network": "MLP", "workdir": tmp_path / "run", **options}
        with pytest.raises((flags.Error, ValueError), match=message):
            extract.main(["extract", *arguments(**given)])
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_in_the_place_of_the_parameters_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "train", None)
    (tmp_path / "run/params").mkdir(parents=True)
    (tmp_path / "run/params/notes.txt").write_text("keep me")
    with pytest.raises(ValueError, match="params holds something else than parameters"):
        run(tmp_path / "run", dataset="wine", network="MLP")
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["params", "notes.txt"]


def test_a_complete_table_holds_nothing_out(tmp_path, capsys):
    options = {"dataset": "3-of-5", "network": "MLP", "num_epochs": 1, "betas": "0.1"}
    rows = run(tmp_path / "whole", search="weight_order", lengths="", **options)
    assert {row["held_out_error"] for row in rows} == {""}
    rules = mofn.rules_from_json((tmp_path / "whole/rules.json").read_text())
    assert {rule.held_out_error for rule in rules} == {None}
    printed = capsys.readouterr().out
    assert "found on 32 training examples, the same table as the test examples" in printed
    assert "held out" not in printed.split("found on")[1]
    assert "held out" not in (tmp_path / "whole/answers.txt").read_text()
    # Of a part of it, the rest.
    rows = run(tmp_path / "part", search="weight_order", lengths="", num_examples=20, **options)
    assert all(float(row["held_out_error"]) >= 0 for row in rows)
    assert "found on 20 training examples, held out 12" in capsys.readouterr().out


def test_runs_of_other_flags_and_at_the_same_time_need_another_folder(tmp_path):
    run(tmp_path, num_epochs=1, **SMALL)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(flags.Error, match=r"holds results of other flags \(num_epochs\)"):
        run(tmp_path, num_epochs=2, **SMALL)
    with (
        kept.alone_in(tmp_path),
        pytest.raises(flags.Error, match="workdir: another run is at work in"),
    ):
        run(tmp_path, num_epochs=1, **SMALL)
    run(tmp_path, num_epochs=1, memory_budget=10**6, **SMALL)
    after = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert before.keys() == after.keys()
    same = {path.name for path in before if before[path] == after[path]}
    assert same >= {"layers.csv", "rules.json", "rules.txt", "answers.txt"}


def test_a_rerun_that_is_stopped_leaves_what_was_whole(tmp_path, monkeypatch):
    run(tmp_path, num_epochs=1, **SMALL)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(extract, "answers_of_network", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, num_epochs=1, **SMALL)
    after = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


def test_parameters_that_are_not_finite(tmp_path, monkeypatch):
    run(tmp_path / "first", num_epochs=1, **SMALL)
    params = mofn.restore_params(tmp_path / "first/params")
    params["dense_0"]["kernel"][0, 0] = np.nan
    mofn.save_params(tmp_path / "nan", params)
    with pytest.raises(ValueError, match=r"params: those in .*nan hold NaN"):
        run(tmp_path / "second", params=tmp_path / "nan", **SMALL)
    assert not (tmp_path / "second").exists()


def test_few_examples_of_some_classes(tmp_path):
    # The network says classes of the others that it says of none of these.
    rows = run(
        tmp_path,
        dataset="digits",
        network="MLP",
        num_epochs=3,
        num_examples=4,
        search="weight_order",
        layers="softmax",
        betas="0.1",
        lengths="",
    )
    assert len(rows) == 1
    assert "held out" in (tmp_path / "answers.txt").read_text()


def test_a_full_disk_is_one_error_and_leaves_whole_files(tmp_path, monkeypatch):
    write = Path.write_text

    def full(path, text, **options):
        if path.name.endswith("rules.txt"):
            write(path, text[:5], **options)
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"No space left on device: .*/rules.txt"):
        run(tmp_path, num_epochs=1, **SMALL)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "layers.csv", "params", "rules.json"}
    assert len(mofn.rules_from_json((tmp_path / "rules.json").read_text())) == 128 * 5
