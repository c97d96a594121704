"""Tables: means over units, and text and CSV that hold them."""

import csv
import io
import math

import numpy as np
import pytest

import mofn_jax as mofn
from mofn_jax import report


def make_result(held_out=True):
    """Two units at two betas; the second is never on in the held-out examples."""
    literal = mofn.Literal(0, 0.5, False)
    measured, constant = (
        {"held_out_error": error, "held_out_baseline_error": baseline, "held_out_bound": bound}
        if held_out
        else {}
        for error, baseline, bound in ((0.2, 0.25, 0.04), (0.0, 0.0, 0.009))
    )
    rules = {
        beta: (
            mofn.Rule(0, 1, (literal,) * size, 0.1, 0.3, 0.4, beta=beta, **measured),
            mofn.Rule(1, 1, (), 0.3, 0.0, 0.5, beta=beta, **constant),
        )
        for beta, size in ((0.5, 1), (0.1, 3))
    }
    front = mofn.RuleFront(
        ((), ()), np.array([4, 5]), num_examples=10, num_inputs=7, proven_literals=3
    )
    return mofn.LayerRules("dense_0", "dense", np.array([0.5, 0.7]), 1, front, rules, {})


def test_rows_are_means_over_units():
    first, second = report.layer_rows(make_result())
    assert (first.beta, second.beta) == (0.1, 0.5)
    assert first[:6] == ("dense_0", "dense", 7, 2, 1, 3)
    assert first.error == pytest.approx(0.2)
    assert first.held_out_error == pytest.approx(0.1)
    assert first.baseline_error == pytest.approx(0.125)
    assert first.skill == pytest.approx(0.2)  # of the unit that is not constant
    assert first.complexity == pytest.approx(0.15)
    assert (first.literals, second.literals) == (1.5, 0.5)


def test_constant_units_take_no_part():
    result = make_result()
    constant = mofn.Rule(2, 1, (), 0.0, 0.0, 0.0, held_out_error=0.9, held_out_baseline_error=0.1)
    more = result._replace(rules={beta: (*r, constant) for beta, r in result.rules.items()})
    assert report.layer_rows(more) == report.layer_rows(result)
    alone = report.layer_rows(result._replace(rules={0.0: (constant,)}))[0]
    assert all(math.isnan(value) for value in alone[8:])
    assert "-" in report.format_table([alone])


def test_without_held_out_examples_the_skill_is_of_the_others():
    row = report.layer_rows(make_result(held_out=False))[0]
    assert math.isnan(row.held_out_error)
    assert row.baseline_error == pytest.approx(0.45)
    assert row.skill == pytest.approx((0.75 + 0.4) / 2)


def test_table_shows_every_row_under_its_heads():
    rows = report.layer_rows(make_result(held_out=False))
    head, *lines = report.format_table(rows).splitlines()
    assert head.split("  ")[0] == "layer"
    assert "held out error" in head
    assert [line.split() for line in lines] == [
        [
            "dense_0",
            "dense",
            "7",
            "2",
            "1",
            "3",
            beta,
            "-",
            "0.2",
            "-",
            "0.45",
            "0.575",
            "0.15",
            literals,
            *["-"] * 4,
        ]
        for beta, literals in (("0.1", "1.5"), ("0.5", "0.5"))
    ]


def test_csv_gives_every_number_back():
    rows = report.layer_rows(make_result(held_out=False))
    read = list(csv.DictReader(io.StringIO(report.rows_to_csv(rows))))
    for row, fields in zip(rows, read, strict=True):
        for name, value in row._asdict().items():
            if isinstance(value, float):
                assert fields[name] == "" if math.isnan(value) else float(fields[name]) == value
            else:
                assert fields[name] == ("" if value is None else str(value))


def test_rows_of_rules_and_literals():
    literals = (mofn.Literal(0, 0.5, False, "age", 10.0, 2.0), mofn.Literal(4, 0.25, True))
    rule = mofn.Rule(1, 1, literals, 0.1, 0.3, 0.4, beta=0.5, layer="dense_0", unit_name="ill")
    never = mofn.Rule(0, 1, (), 0.0, 0.0, 0.0, max_literals=3)
    first, second = report.rule_rows([rule, never])
    assert first[:8] == ("dense_0", 1, "ill", 0.5, None, "1 of {age >= 11, x4 < 0.25}", 1, 2)
    assert (first.error, first.complexity, first.held_out_error) == (0.1, 0.3, None)
    assert (second.rule, second.max_literals) == ("false", 3)
    rows = report.literal_rows([rule, never])
    which = ("dense_0", 1, "ill", 0.5, None)
    assert rows == (
        (*which, "age >= 11", 0, "age", False, 0.5, 11.0),
        (*which, "x4 < 0.25", 4, "x4", True, 0.25, 0.25),
    )
    assert (
        report.rows_to_csv(rows).splitlines()[0].endswith("name,negated,threshold,shown_threshold")
    )
    with pytest.raises(ValueError, match=r"rules\[0\]: expected a Rule"):
        report.rule_rows([3])


def test_shares_of_units_that_are_surely_explained():
    row = report.layer_rows(make_result())[0]
    assert (row.within_1_percent, row.within_5_percent) == (0.5, 1.0)
    assert math.isnan(report.layer_rows(make_result(held_out=False))[0].within_1_percent)
