"""The experiment on optimality through its own main, on small data."""

import csv
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
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
        errors[row["seed"], int(row["literals"])][row["method"]] = float(row["error"])
        assert 0 <= float(row["held_out_error"]) <= 1
    assert len(errors) == 6
    for (_, budget), found in errors.items():
        assert found["best"] <= found["stepwise"]
        assert found["best"] <= found["weight order"]
        assert ("exact" in found) == (budget <= 3)
        if "exact" in found:
            assert found["best"] <= found["exact"] <= found["stepwise"]
        assert 0 <= found["decision tree"] < 0.5
    assert (folder / "budgets.png").read_bytes().startswith(b"\x89PNG")
    (ax,) = figures[-1].axes
    for method, drawn in curves(ax).items():
        if method in ("weight order", "best", "decision tree"):
            for budget, error in drawn.items():
                some = [
                    float(row["held_out_error"])
                    for row in rows
                    if (row["method"], int(row["literals"])) == (method, budget)
                ]
                assert error == pytest.approx(np.mean(some))
    (baseline,) = [line for line in ax.lines if line.get_label() == "constant rule"]
    assert 0 < baseline.get_ydata()[0] < ax.get_ylim()[1]
    assert (folder / "budgets.md").read_text().strip() in capsys.readouterr().out
