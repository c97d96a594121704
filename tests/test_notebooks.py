"""Notebooks: each pair says the same, runs without error or warning, and does what it says.

They run as scripts, in this process: what one compiles the next need not, and warnings are errors.
"""

import runpy
import tomllib
from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pytest

import mofn_jax as mofn

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = ["quickstart", "scoring_explained", "softmax_explained", "your_own_network"]


@pytest.fixture
def run(capsys):
    """Runs a notebook; gives its variables and what it prints."""
    yield lambda name: (runpy.run_path(str(FOLDER / f"{name}.py")), capsys.readouterr().out)
    plt.close("all")


def test_every_notebook_is_tested():
    assert sorted(path.name for path in FOLDER.iterdir() if path.is_file()) == sorted(
        f"{name}.{end}" for name in NAMES for end in ("ipynb", "py")
    )


@pytest.mark.parametrize("name", NAMES)
def test_pair_has_the_same_cells(name):
    script, notebook = (
        [(cell.cell_type, cell.source) for cell in jupytext.read(FOLDER / f"{name}.{end}").cells]
        for end in ("py", "ipynb")
    )
    assert script == notebook


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_shown_as_it_ran(name):
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < 700_000
    cells = jupytext.read(path).cells
    metadata = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())
    repository = metadata["project"]["urls"]["Repository"]
    badge = repository.replace("https://github.com", "https://colab.research.google.com/github")
    assert f"]({badge}/blob/main/notebooks/{name}.ipynb)" in cells[0].source  # opens itself
    assert f"\n    !test -d mofn_jax || git clone -q {repository}\n" in cells[1].source
    assert "found 1 x cpu" in cells[2].outputs[0].text
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert any(" <=> " in output.get("text", "") for output in outputs)


def test_quickstart_checks_a_rule(run):
    variables, printed = run("quickstart")
    rule = variables["rule"]
    assert printed.count(" <=> ") == 2
    for text in mofn.format_literals(rule):
        assert f"  {text}: it is " in printed
    assert variables["checked"].says == variables["rule_says"][0]
    assert variables["is_on"] == variables["unit_is_on"][0]
    assert variables["error"] == pytest.approx(rule.held_out_error)
    assert variables["constant_error"] == pytest.approx(rule.held_out_baseline_error)
    assert variables["error"] < variables["constant_error"]


def test_scoring_explained_counts_the_same_each_way(run):
    variables, printed = run("scoring_explained")
    for taken, errors in enumerate(([3, 3], [3, 0, 3], [3, 1, 0, 3])):
        for needed, count in enumerate(errors):
            assert f"N = {taken}, M = {needed}: {count} errors" in printed
        assert f"N = {taken}: [{' '.join(map(str, errors))}]" in printed
    table = variables["errors"]
    for rule in variables["front"].units[0]:
        assert table[len(rule.literals.inputs), rule.m] == rule.errors
        assert any(
            better.errors <= rule.errors and better.complexity <= rule.complexity
            for better in variables["best"].units[0]
        )
    marks = [line for figure in map(plt.figure, plt.get_fignums()) for line in figure.axes[0].lines]
    assert len(marks) == 1 + 2 + 2


def test_softmax_explained_follows_a_right_and_a_wrong_answer(run):
    variables, printed = run("softmax_explained")
    right, wrong, answer = (variables[name] for name in ("right", "wrong", "answer"))
    labels = variables["digits"].test.labels
    assert labels[right] == answer != labels[wrong]
    assert variables["axes"].shape == (len(variables["rule"].literals), 2 + 5)
    assert variables["rule"].unit == answer
    assert printed.count(" <=> ") == 10
    for name, example in (("right", right), ("wrong", wrong)):
        part = printed.split(f"\n{name}: a {labels[example]}, the network says {answer}\n")[1]
        says = variables["says"][example, answer]
        assert part.startswith(f"softmax class {answer}: {'on' if says else 'off'}, ")
    assert variables["agrees"][variables["is_right"]].mean() > 0.8


def test_your_own_network_is_explained(run):
    variables, printed = run("your_own_network")
    assert "answer: softmax, in (1437, 32), out (1437, 10)" in printed
    assert [result.name for result in variables["results"]] == ["Conv_0", "answer"]
    assert np.mean([rule.held_out_skill for rule in variables["results"][1].rules[0.3]]) > 0.6
    assert len(variables["rules"]) == 3  # from the measurements to the kind of wine
    assert all(rule.held_out_skill > 0.5 for rule in variables["rules"])
    assert printed.count(" <=> ") == 3 + 3 + 3 + 3 + 3 + 10 + 3 + 8 + 3
    assert printed.count("it ends before a nonlinearity: add follows") == 3
    assert printed.count(" at every position <=> ") == 4 * 3
    answers = variables["answers"]
    assert answers.held_out_fidelity > answers.held_out_tree_fidelity
