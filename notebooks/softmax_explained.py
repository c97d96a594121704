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
# # A softmax layer explained
#
# [Open in Colab](https://colab.research.google.com/github/mofn-jax/mofn_jax/blob/main/notebooks/softmax_explained.ipynb)
#
# Rules for the ten answers of a network that reads digits, pictures of what their literals stand
# for, and a rule at work: where the network is right, and where it is wrong.

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
from mofn_jax import plots, report

print(mofn.describe_devices())

# %% [markdown]
# ## The network and its rules
#
# A small convolutional network. Its softmax layer reads 32 hidden units, `dense_0[0]` to
# `dense_0[31]`, whose activations lie between -1 and 1 (tanh).

# %%
digits = mofn.load_dataset("digits")
network = mofn.CNN(num_classes=10, conv_blocks=((16,),), dense=(32,), activation="tanh")
trained = mofn.train(jax.random.key(0), network, digits, num_epochs=20, learning_rate=5e-3)
print(f"right on {trained.history['test_accuracy'][-1]:.1%} of the test images")

# %% [markdown]
# Each of its units is a class, "0" to "9". A rule is found on the training images and measured
# on the test images (*held-out*). The *baseline* is the error of the better constant rule.

# %%
(found,) = mofn.extract_network(
    network,
    trained.params,
    digits.train.inputs,
    held_out=digits.test.inputs,
    layers=["softmax"],
    betas=[0.1],
    names=digits.names,
)
rules = found.rules[0.1]
for rule in rules:
    print(rule)

# %% [markdown]
# ## Right and wrong
#
# From here on only test images. Let us take one that the network gets wrong, and one of those that
# it gets right with the same answer.

# %%
(softmax,) = mofn.capture_layers(network, trained.params, digits.test.inputs, layers=["softmax"])
is_right = softmax.predictions == digits.test.labels
wrong = np.flatnonzero(~is_right)[0]
answer = softmax.predictions[wrong]
right = np.flatnonzero(is_right & (softmax.predictions == answer))[0]

_, axes = plt.subplots(1, 2, figsize=(5, 2.8), layout="constrained")
for ax, example in zip(axes, (right, wrong), strict=True):
    ax.imshow(digits.test.inputs[example, ..., 0], cmap="gray")
    ax.set_title(f"a {digits.test.labels[example]}, network says {answer}", fontsize=10)
    ax.axis("off")

# %% [markdown]
# ## What do the literals stand for?
#
# The rule of this answer is about hidden units, and a name such as `dense_0[7]` says little. So
# each row below shows the test images that most excite one of the units, and its activation. A
# literal with `>=` holds when the unit is excited enough, by these images and weaker ones down to
# the threshold. A literal with `<` holds when it is *not*: the images then show what must be
# absent. In front, the two images from above.

# %%
rule = rules[answer]
axes = plots.plot_rule_card(
    rule, softmax.inputs, digits.test.inputs, per_literal=5, examples=(right, wrong)
)

# %% [markdown]
# ## The rule at work
#
# First on the image that the network gets right, then on the one that it gets wrong. A rule
# explains the network, not the digits: a rule that were always true would follow the network into
# its mistakes. Does this one?

# %%
for name, example in (("right", right), ("wrong", wrong)):
    print(f"{name}: a {digits.test.labels[example]}, the network says {answer}")
    (checked,) = mofn.explain_example([rule], softmax.inputs[example]).rules
    print(f"{checked}\n")

# %% [markdown]
# What do all ten rules say of the two images? Each rule is on its own, so none, one or several may
# say "on".

# %%
for name, example in (("right", right), ("wrong", wrong)):
    on = mofn.explain_example(rules, softmax.inputs[example]).saying_on
    print(f"{name}: the rules of {[one.rule.unit_name for one in on]} say on")
(row,) = report.layer_rows(found)
print(f"of all test images none says on of {row.none_on:.1%}, several of {row.several_on:.1%}")

# %% [markdown]
# And over all test images: how often does the rule of the answer that the network gives say "on"?

# %%
says = mofn.evaluate_rules(rules, softmax.inputs)
agrees = says[np.arange(len(says)), softmax.predictions]
print(f"where the network is right: {agrees[is_right].mean():.1%} of {is_right.sum()} images")
print(f"where the network is wrong: {agrees[~is_right].mean():.1%} of {(~is_right).sum()} images")

# %% [markdown]
# The network is wrong on so few images that the second number is a rough one. Still the rules
# follow it less often there: short rules keep what is typical of an answer, and mistakes are made
# on images that are not typical. A lower beta gives longer rules.
