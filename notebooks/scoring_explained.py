# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scoring explained
#
# [Open in Colab](https://colab.research.google.com/github/mofn-jax/mofn_jax/blob/main/notebooks/scoring_explained.ipynb)
#
# From the literals of one unit to the errors of all its candidate rules, to the few rules worth
# having, to the one that is chosen.

# %%
import sys

if "google.colab" in sys.modules:  # this repository, and what it needs beside Colab's image
    # !test -d mofn_jax || git clone -q https://github.com/mofn-jax/mofn_jax
    # %cd -q /content/mofn_jax
    # !pip install -q -e .
    sys.path.insert(0, "/content/mofn_jax")  # pip's own entry counts from the next start on

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import mofn_jax as mofn
from mofn_jax import plots

print(mofn.describe_devices())

# %% [markdown]
# ## Literals
#
# A unit with two inputs, six examples, and whether the unit is on.

# %%
inputs = np.array([[0.1, 5], [0.4, 1], [0.4, 4], [0.7, 2], [0.9, 3], [1.0, 0]])
weights = np.array([1.5, -0.5])
is_on = np.array([False, False, False, True, True, True])

# %% [markdown]
# Each input is cut at the threshold that tells most about the unit. An input of positive weight
# gives the literal "at least the threshold", one of negative weight "below the threshold". The
# literals come in order of the size of their weights.

# %%
thresholds = mofn.best_thresholds(inputs, is_on[:, None]).values[:, 0]
literals = mofn.ordered_literals(weights, thresholds)
for i, threshold, negated in zip(*literals[:3], strict=True):
    print(f"x{i} {'<' if negated else '>='} {threshold}")

holds = mofn.literal_truth(literals, inputs)
print(holds.astype(int))

# %% [markdown]
# ## All rules over the first literals
#
# A candidate rule takes the first N literals and needs M of them. Its errors are the examples on
# which rule and unit differ. M = 0 is the rule that is always true, M = N + 1 the one that is never
# true. By definition:

# %%
for taken in range(3):
    for needed in range(taken + 2):
        says_on = holds[:, :taken].sum(1) >= needed
        print(f"N = {taken}, M = {needed}: {np.sum(says_on != is_on)} errors")

# %% [markdown]
# ## The recurrence
#
# With 128 literals there are 8,256 such rules, not counting those that are always or never true.
# Their errors can be had without counting literals for each. At least M of the first N hold if
#
# * at least M of the first N - 1 already do, or
# * at least M - 1 of them do, and literal N does too.
#
# So one more literal costs an "and" and an "or" for each M. Row M of `at_least` marks the examples
# on which at least M of the literals so far hold.

# %%
at_least = np.zeros((4, 6), bool)
at_least[0] = True  # at least 0 always hold
print("N = 0:", (at_least != is_on).sum(1)[:2])
for n, literal in enumerate(holds.T, start=1):
    at_least[1:] |= at_least[:-1] & literal
    print(f"N = {n}:", (at_least != is_on).sum(1)[: n + 2])

# %% [markdown]
# `score_unit` does just that, with 32 examples packed in each word, so that one operation serves 32
# of them. The errors of M literals needed of N taken are in row N, column M. Behind M = N + 1 there
# is no other rule; those entries repeat the rule that is never true.

# %%
print(
    mofn.score_unit(
        mofn.pack_examples(holds.T),
        mofn.pack_examples(is_on),
        mofn.pack_examples(np.ones(6, bool)),
    )
)

# %% [markdown]
# ## A unit of a real network
#
# A network with 32 hidden units learns to tell digits apart. When does it say "3"? (Two of the
# hidden units are never active. An input that never changes gives no literal.)

# %%
digits = mofn.load_dataset("digits")
network = mofn.MLP(num_classes=10, hidden=(32,), activation="relu")
params = mofn.train(jax.random.key(0), network, digits, num_epochs=20).params
_, softmax = mofn.capture_layers(network, params, digits.train.inputs)

digit = 3
weights = softmax.weights[:, [digit]]
targets = softmax.predictions[:, None] == digit
thresholds = mofn.best_thresholds(softmax.inputs, targets).values
literals = mofn.ordered_literals(weights[:, 0], thresholds[:, 0])
holds = mofn.literal_truth(literals, softmax.inputs)
errors = mofn.score_unit(
    mofn.pack_examples(holds.T),
    mofn.pack_examples(targets[:, 0]),
    mofn.pack_examples(np.ones(len(targets), bool)),
)
print(f"{len(literals.inputs)} literals, {len(targets)} examples, table of {errors.shape}")

# %% [markdown]
# Dark is good. The good rules lie along a line: the more literals are taken, the more are needed.
# The brightest colour means: no better than the better constant rule, here "never".

# %%
ax = plots.plot_scores(errors)

# %% [markdown]
# ## The front
#
# A rule of few literals is easy to read, a rule of many may err less. *Complexity* is the length of
# the rule written as a DNF (an "or" of "ands"), on a log scale from 0 to 1. A rule is worth having
# if no other is at once as true, as simple and as short. These rules are the unit's *front*. (A
# single literal counts as no more complex than a constant rule: 0.) The picture marks those that no
# other beats in error and complexity, whatever their length.

# %%
front = mofn.extract_layer(weights, softmax.inputs, targets, search="weight_order")
for rule in front.units[0]:
    print(
        f"{rule.m:2} of the first {len(rule.literals.inputs):2}: "
        f"{rule.errors:3} errors, complexity {rule.complexity:.3f}"
    )

# %%
ax = plots.plot_scores(errors, mark_front=True)

# %% [markdown]
# ## Choosing by beta, or by length
#
# Beta is the price of complexity: the rule of least `error + beta * complexity` is chosen. Or we
# say how many literals it may have. Either way the rule is on the front: there is nothing to search
# again.

# %%
for beta in (0.0, 0.1, 0.3, 1.0):
    (rule,) = mofn.select_rules(front, beta)
    loss = rule.error + beta * rule.complexity
    print(
        f"beta {beta:3}: {rule.m:2} of {len(rule.literals):2}, error {rule.error:.1%}, "
        f"complexity {rule.complexity:.3f}, loss {loss:.3f}"
    )
for length in (1, 3, 10):
    (rule,) = mofn.select_rules(front, max_literals=length)
    print(
        f"at most {length:2} literals: {rule.m:2} of {len(rule.literals):2}, error {rule.error:.1%}"
    )

# %% [markdown]
# ## Other literals than the first
#
# So far a rule had to take the literals in order of weight: `search="weight_order"`, as in the
# paper. The default, `search="best"`, also tries other sets of literals and moves their thresholds.
# Its rules are never worse, and often much better when they are short. (The unit is unit 0 of those
# that we handed over.)

# %%
best = mofn.extract_layer(weights, softmax.inputs, targets)
_, ax = plt.subplots(layout="constrained")
lengths = range(1, len(literals.inputs) + 1)
for name, marker, found in (("weight_order", "s", front), ("best", "o", best)):
    chosen = [mofn.select_rules(found, max_literals=length)[0] for length in lengths]
    ax.plot(
        lengths,
        [rule.error for rule in chosen],
        marker=marker,
        linestyle="-" if found is best else "--",
        label=f'search="{name}"',
    )
ax.set_xlabel("literals, at most")
ax.set_ylabel("error (share of examples)")
ax.set_ylim(bottom=0)
ax.legend()
print(mofn.select_rules(best, beta=0.3)[0])
