"""How sure a held-out error is: against SciPy's distribution, and by how often it holds."""

import numpy as np
import pytest
from scipy import stats

import mofn_jax as mofn


@pytest.mark.parametrize(("num_units", "most"), [(1, 83), (10, 74), (1000, 63)])
def test_up_to_how_many_errors_one_percent_is_certain(num_units, most):
    """Of 10,000 examples, for one unit, ten and a thousand."""
    bounds = mofn.error_bound([most, most + 1], 10_000, num_units=num_units)
    assert bounds[0] <= 0.01 < bounds[1]


def test_it_is_the_quantile_of_a_beta_distribution():
    errors = np.arange(41)
    found = mofn.error_bound(errors, 40, num_units=7, confidence=0.9)
    np.testing.assert_allclose(
        found[:-1], stats.beta.ppf(1 - 0.1 / 7, errors[:-1] + 1, 40 - errors[:-1])
    )
    assert found[-1] == 1  # all wrong
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.4])
def test_it_holds_as_often_as_it_says(share):
    errors = np.arange(101)
    holds = mofn.error_bound(errors, 100) >= share
    assert stats.binom.pmf(errors, 100, share)[holds].sum() >= 0.95


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 0), {}, "num_examples: expected an integer of at least 1"),
        ((0.5, 10), {}, r"errors: expected integers in 0..10"),
        ((11, 10), {}, r"errors: expected integers in 0..10"),
        ((-1, 10), {}, r"errors: expected integers in 0..10"),
        ((1, 10), {"num_units": 0}, "num_units: expected an integer of at least 1"),
        ((1, 10), {"confidence": 1}, "confidence: expected a number between 0 and 1"),
        ((1, 10), {"confidence": "x"}, "confidence: "),
    ],
)
def test_what_is_no_count_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        mofn.error_bound(*arguments, **options)


def test_rules_are_bounded_for_all_units_of_their_layer_at_once():
    rng = np.random.default_rng(0)
    inputs, weights = rng.random((90, 3)), rng.standard_normal((3, 4))
    outputs, classes = inputs @ weights, rng.integers(0, 2, 90)
    layer = mofn.layer_from_arrays("fc", weights, inputs, outputs, classes)
    some, others = (
        layer._replace(
            inputs=layer.inputs[rows],
            activations=layer.activations[rows],
            predictions=layer.predictions[rows],
        )
        for rows in (slice(50), slice(50, 90))
    )
    result = mofn.explain_layer(some, held_out=others, betas=[0.1])
    for rule in result.at(beta=0.1):
        (bound,) = mofn.error_bound([round(40 * rule.held_out_error)], 40, num_units=4)
        assert rule.held_out_bound == pytest.approx(bound)
        assert f"held-out error {rule.held_out_error:.1%} (at most {bound:.1%})" in str(rule)
    (row,) = mofn.report.layer_rows(result)
    bounds = np.array([rule.held_out_bound for rule in result.at(beta=0.1)])
    assert row.within_5_percent == (bounds <= 0.05).mean()
    (alone,) = mofn.measure_held_out(
        result.at(beta=0.1)[:1], others.inputs, others.activations[:, :1] > 0
    )
    (bound,) = mofn.error_bound([round(40 * alone.held_out_error)], 40)
    assert alone.held_out_bound == pytest.approx(bound)
