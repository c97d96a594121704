"""The experiment on optimality through its own main, on small data."""

import csv
from collections import defaultdict

import pytest

from experiments import optimality


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


def test_gap_to_the_least_loss(tmp_path, capsys):
    folder = run(tmp_path, tables="wine", betas="0,0.1", seeds="0")
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
    assert (folder / "gap.md").read_text() in capsys.readouterr().out


def test_budgets_of_literals(tmp_path, capsys):
    folder = run(tmp_path, datasets="wine", networks="MLP", budgets="1,2,4")
    rows = read(folder / "budgets.csv")
    errors = defaultdict(dict)
    for row in rows:
        errors[row["seed"], int(row["literals"])][row["method"]] = float(row["error"])
        assert 0 <= float(row["held_out_error"]) <= 1
    assert len(errors) == 6
    for (_, budget), found in errors.items():
        assert found["beam refined"] <= found["beam"] <= found["weight order"]
        assert ("exact" in found) == (budget <= 3)
        if "exact" in found:
            assert found["beam"] == pytest.approx(found["exact"])
        assert 0 <= found["decision tree"] < 0.5
    assert (folder / "budgets.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "budgets.md").read_text().strip() in capsys.readouterr().out
