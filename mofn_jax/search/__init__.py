"""Strategies that look for rules: each takes literals and targets and returns a RuleFront."""

from mofn_jax.search import beam, best, exact, weight_order

SEARCHES = {
    "best": best.best,
    "weight_order": weight_order.weight_order,
    "exact": exact.exact,
    "beam": beam.beam,
}
