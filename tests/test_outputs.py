"""A run's folder: what is in it, and that no file is ever half there."""

import json

import numpy as np
import pytest
from test_report import make_result

import mofn_jax as mofn
from mofn_jax import outputs


def test_results_are_written_and_read_back(tmp_path):
    result = make_result()
    outputs.write_results(tmp_path / "run", [result])
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"layers.csv", "rules.json", "rules.txt", "landscape.png"}
    rules = [rule for group in result.rules.values() for rule in group]
    assert mofn.rules_from_json((tmp_path / "run/rules.json").read_text()) == tuple(rules)
    lines = (tmp_path / "run/rules.txt").read_text().splitlines()
    first, second = (group[0] for group in result.rules.values())
    # Of the other unit both betas chose the same rule.
    assert lines[:2] == [f"beta {rule.beta:g}  {rule}" for rule in (first, second)]
    assert lines[2:] == [f"beta 0.5, 0.1  {result.rules[0.5][1]}"]
    assert len((tmp_path / "run/layers.csv").read_text().splitlines()) == 3
    assert (tmp_path / "run/landscape.png").read_bytes().startswith(b"\x89PNG")


def test_config_says_what_was_run_with_what(tmp_path):
    outputs.write_config(tmp_path, {"dataset": "wine"})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["dataset"] == "wine"
    assert {"mofn_jax", "jax"} <= set(config["versions"])


def test_a_failure_while_writing_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("whole")

    def fail(temporary):
        temporary.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        outputs.write_whole(path, fail)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_summary_shows_the_softmax_rules_of_the_largest_good_beta():
    result = make_result()
    text = outputs.summary([result, result._replace(name="softmax", kind="softmax")])
    assert "softmax rules, beta 0.5:" in text
    assert str(result.rules[0.5][0]) in text
    assert str(result.rules[0.1][0]) not in text


def test_summary_of_a_network_that_predicts_one_class():
    targets = mofn.softmax_targets(np.zeros(4, int), 2)
    front = mofn.extract_layer(np.ones((3, 2)), np.eye(4, 3), targets)
    rules = {beta: mofn.select_rules(front, beta) for beta in (0.0, 0.5)}
    result = mofn.LayerRules("softmax", "softmax", np.full(2, np.nan), 2, front, rules, {})
    assert "softmax rules, beta 0:\nunit 0 <=> true" in outputs.summary([result])
