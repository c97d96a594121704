"""Strategies that look for rules: each takes literals and targets and returns a RuleFront."""

from mofn_jax.search.weight_order import weight_order

SEARCHES = {"weight_order": weight_order}
