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
# # Quickstart
#
# [Open in Colab](https://colab.research.google.com/github/mofn-jax/mofn_jax/blob/main/notebooks/quickstart.ipynb)
#
# You train a small network, get rules that say when its units are on, check one of them by hand on
# one example, and see how true it is. It takes about half a minute on two CPU cores.

# %%
import sys

if "google.colab" in sys.modules:  # this repository, and what it needs beside Colab's image
    # !test -d mofn_jax || git clone -q https://github.com/mofn-jax/mofn_jax
    # %cd -q /content/mofn_jax
    # !pip install -q -e .
    sys.path.insert(0, "/content/mofn_jax")  # pip's own entry counts from the next start on

# %%
import jax
import numpy as np

import mofn_jax as mofn
from mofn_jax import plots, report

print(mofn.describe_devices())

# %% [markdown]
# ## Train
#
# The data are 569 tumours, each with 30 measurements and a class: 0 is malignant, 1 benign. The
# network reads them in standard deviations from the mean of the training examples; rules show them
# as they were measured.

# %%
dataset = mofn.load_dataset("breast_cancer")
print(f"{', '.join(dataset.feature_names[:3])}, ...: {', '.join(dataset.class_names)}")

network = mofn.MLP(num_classes=2, hidden=(16,), activation="relu")
trained = mofn.train(jax.random.key(0), network, dataset, num_epochs=30)
print(f"right on {trained.history['test_accuracy'][-1]:.1%} of the test examples")

# %% [markdown]
# ## Extract
#
# One call explains every unit of every layer. Rules are found on the training examples and measured
# on the held-out ones. `betas` are prices of complexity: at 0 only the error counts, and the higher
# the price, the shorter the rules.

# %%
hidden, softmax = mofn.extract_network(
    network,
    trained.params,
    dataset.train.inputs,
    held_out=dataset.test.inputs,
    betas=(0.0, 0.1, 0.3, 1.0),
    names=dataset.names,
)
rows = [*report.layer_rows(hidden), *report.layer_rows(softmax)]
print(report.format_table(rows))

# %% [markdown]
# A line of the table holds means over the units of a layer. *Error* is the share of examples on
# which rule and unit differ. The *baseline error* is that of the better constant rule, "never on"
# or "always on". *Skill* is 1 for a perfect rule and 0 for one no better than the constant. *Proven
# literals*: no other rule of as many of the unit's literals, or fewer, is better.
#
# The same as a picture: the shorter the rules (to the left), the more they err. Trust the dashed
# lines: on examples that the rules have not seen, length gains less.

# %%
ax = plots.plot_landscape(rows)

# %% [markdown]
# ## Read a rule
#
# When does the network say "malignant"? That is unit 0 of the softmax layer.

# %%
malignant = softmax.rules[0.3][0]
print(malignant)

# %% [markdown]
# Read `2 of {A, B, C}` as "at least two of A, B and C hold". The literals are about the hidden
# layer: `dense_0[8]` is the activation of its unit 8. In brackets: how often the rule is wrong on
# the training examples, how often the better constant rule is, and both on the held-out examples,
# with what the error is at most on all examples like these (95% sure, of all units at once).
#
# And what does the first hidden unit that the rule names stand for? It has a rule of its own, about
# the measurements.

# %%
unit = malignant.literals[0].input
rule = hidden.rules[0.3][unit]
print(rule)

# %% [markdown]
# The left side says when we call the unit "on": its activation reaches the threshold that tells
# most about the class the network predicts. That need not be the threshold of the literal above,
# which tells most about "malignant": each rule explains its own layer, and they do not chain.
#
# ## Check it by hand
#
# Take one example that the rule has never seen: what does the rule say of it, and why?

# %%
(checked,) = mofn.explain_example([rule], dataset.test.inputs[0]).rules
print(checked)

# %% [markdown]
# And the unit itself? `capture_layers` shows what enters and leaves each layer.

# %%
layer, _ = mofn.capture_layers(network, trained.params, dataset.test.inputs)
activation = layer.activations[0, unit]
is_on = activation >= rule.unit_threshold
print(f"activation {activation:.3f}, threshold {rule.unit_threshold:.3f}:")
print(f"the unit is {'on' if is_on else 'off'}")

# %% [markdown]
# ## How true is it?
#
# The same on all held-out examples: how often do rule and unit differ, and how often would the
# better constant rule be wrong?

# %%
rule_says = mofn.evaluate_rules([rule], layer.inputs)[:, 0]
unit_is_on = layer.activations[:, unit] >= rule.unit_threshold
error = np.mean(rule_says != unit_is_on)
constant_error = min(np.mean(unit_is_on), np.mean(~unit_is_on))

print(f"error of the rule           {error:6.1%}")
print(f"error of the constant rule  {constant_error:6.1%}")
print(f"skill                       {1 - error / constant_error:6.2f}")

# %% [markdown]
# The rule knows the three: `rule.held_out_error`, `rule.held_out_baseline_error` and
# `rule.held_out_skill`. Some units have short and true rules, some have not; by these you can tell.
#
# ## How fast is it here?
#
# On Colab's GPU or TPU the next cell times two layers, in some minutes; what they are,
# `experiments/benchmark.py` says. On a TPU, beside the times, stands what its compiler estimated of
# the device alone, when nobody had run it.

# %%
if "google.colab" in sys.modules and jax.default_backend() != "cpu":
    from experiments import benchmark

    times = [row for size in ("S", "M") for row in benchmark.measure(size)]
    print(benchmark.format_rows(times))

# %% [markdown]
# ## Where next
#
# * `scoring_explained.ipynb`: how every candidate rule is scored, and what beta does.
# * `softmax_explained.ipynb`: pictures of what a rule's literals stand for.
# * `your_own_network.ipynb`: the same for your own Flax network, or arrays of any framework.
