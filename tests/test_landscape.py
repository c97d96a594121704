"""The landscape experiment through its own main: whole, and stopped and taken up again."""

import csv

import pytest
from absl import flags

import mofn_jax as mofn
from experiments import landscape


def run(folder, name, **options):
    options = {
        "workdir": folder / name,
        "trained": folder / "trained",
        "dataset": "wine",
        "networks": "SmallMLP",
        "num_epochs": 3,
        "betas": "0,0.1",
        "shown_betas": "0.1",
        **options,
    }
    landscape.main(["landscape", *(f"--{key}={value}" for key, value in options.items())])
    with open(folder / name / "landscape.csv") as file:
        return list(csv.DictReader(file))


def test_every_layer_of_every_network(tmp_path, capsys):
    rows = run(tmp_path, "run", seeds="0,1")
    assert len(rows) == 2 * 2 * 3 * 2 * 2  # activations, seeds, layers, searches, betas
    paper, best = (
        {(*list(row.values())[:4], row["layer"], row["beta"]): row for row in some}
        for some in (
            [row for row in rows if row["search"] == search] for search in ("weight_order", "best")
        )
    )
    for key, row in paper.items():
        losses = [
            float(r["error"]) + float(r["beta"]) * float(r["complexity"]) for r in (row, best[key])
        ]
        assert losses[1] <= losses[0]
    for search in ("weight_order", "best"):
        path = tmp_path / f"run/cases/wine-SmallMLP-relu-0/softmax-{search}.rules.json"
        rules = mofn.rules_from_json(path.read_text())
        assert {(rule.layer, rule.beta) for rule in rules} == {("softmax", 0), ("softmax", 0.1)}
    table = (tmp_path / "run/landscape.md").read_text()
    assert table in capsys.readouterr().out
    assert len(table.splitlines()) == 2 + 2 + 2 * 3  # a line for each activation and layer
    row = best["wine", "SmallMLP", "tanh", "0", "softmax", "0.1"]
    assert f"({row['inputs']} → 3)" in table
    assert (tmp_path / "run/SmallMLP.png").read_bytes().startswith(b"\x89PNG")


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
