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
# # Your own network
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/mofn-jax/mofn_jax/blob/main/notebooks/your_own_network.ipynb)
#
# Rules of a Flax network that you wrote and trained yourself, and of a network from another
# framework, of which you only have arrays.

# %%
import sys

if "google.colab" in sys.modules:  # this repository, and what it needs beside Colab's image
    # !test -d mofn_jax || git clone -q https://github.com/mofn-jax/mofn_jax
    # %cd -q /content/mofn_jax
    # !pip install -q -e .
    sys.path.insert(0, "/content/mofn_jax")  # pip's own entry counts from the next start on

# %%
import flax.linen as nn
import jax
import numpy as np
import optax
from sklearn.datasets import load_wine
from sklearn.neural_network import MLPClassifier

import mofn_jax as mofn
from mofn_jax import report

print(mofn.describe_devices())

# %% [markdown]
# ## A Flax network
#
# Any Linen module made of Dense and Conv layers will do, whatever lies between them. It only has to
# return its logits. When it is called with the inputs alone, it should do what it does in use: here
# no dropout.


# %%
class DigitReader(nn.Module):
    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(8, (3, 3))(images))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        x = nn.Dropout(0.2, deterministic=not train)(x)
        x = nn.tanh(nn.Dense(32, name="hidden")(x))
        return nn.Dense(10, name="answer")(x)


# %% [markdown]
# Train it as you like. This is a plain loop with Optax.

# %%
digits = mofn.load_dataset("digits")
images, labels = digits.train
network = DigitReader()
params = network.init(jax.random.key(0), images[:1])["params"]
optimizer = optax.adam(2e-3)
state = optimizer.init(params)


@jax.jit
def train_step(params, state, key, images, labels):
    def loss(params):
        logits = network.apply({"params": params}, images, train=True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


shuffle = np.random.default_rng(0)
for step in range(400):
    batch = shuffle.choice(len(labels), 64)
    key = jax.random.fold_in(jax.random.key(1), step)
    params, state = train_step(params, state, key, images[batch], labels[batch])

logits = network.apply({"params": params}, digits.test.inputs)
print(f"right on {np.mean(logits.argmax(-1) == digits.test.labels):.1%} of the test images")

# %% [markdown]
# `capture_layers` watches the network at work: what enters and leaves each layer, under the names
# of the parameter tree. The layer that gives the logits is of kind "softmax". (If your module needs
# arguments when it is used, hand them over here and below, such as `call_kwargs={"train": False}`.)

# %%
for layer in mofn.capture_layers(network, params, images):
    print(f"{layer.name}: {layer.kind}, in {layer.inputs.shape}, out {layer.activations.shape}")

# %% [markdown]
# `extract_network` captures and explains, all layers or those you name: here the first and the
# last. Of a convolution's filter the most informative position is explained: "c0[-1,+1]" is channel
# 0 of its input, one row above and one column right of the centre of its patch. Below the table,
# three rules of each layer.

# %%
results = mofn.extract_network(
    network,
    params,
    images,
    held_out=digits.test.inputs,
    layers=["Conv_0", "answer"],
    betas=[0.3],
)
print(report.format_table([row for result in results for row in report.layer_rows(result)]))
for result in results:
    print()
    print(*result.rules[0.3][:3], sep="\n")

# %% [markdown]
# ## Arrays of another framework
#
# `extract_layer` needs no Flax, only arrays: the weights of a layer, what enters it, and when each
# of its units is on. Take a network of scikit-learn that tells three kinds of wine apart.

# %%
wine = mofn.load_dataset("wine")
names = load_wine().feature_names
model = MLPClassifier((8,), solver="lbfgs", alpha=0.1, max_iter=1000, random_state=0)
model.fit(wine.train.inputs, wine.train.labels)
print(f"right on {model.score(wine.test.inputs, wine.test.labels):.1%} of the test examples")

# %% [markdown]
# Its weights are in `coefs_`, [inputs, units] as we want them. PyTorch keeps weights the other way
# round: there it would be `layer.weight.detach().numpy().T`. What enters the last layer we compute.


# %%
def hidden_activations(inputs):
    return np.maximum(inputs @ model.coefs_[0] + model.intercepts_[0], 0)


train_hidden = hidden_activations(wine.train.inputs)
test_hidden = hidden_activations(wine.test.inputs)
print("weights", model.coefs_[1].shape, "inputs", train_hidden.shape)

# %% [markdown]
# A softmax unit is on when its class is the one that the network predicts (not the true one: we
# explain the network).

# %%
train_predictions = model.predict(wine.train.inputs)
test_predictions = model.predict(wine.test.inputs)
train_targets = mofn.softmax_targets(train_predictions, num_classes=3)
test_targets = mofn.softmax_targets(test_predictions, num_classes=3)

front = mofn.extract_layer(model.coefs_[1], train_hidden, train_targets)
rules = mofn.select_rules(front, beta=0.1)
rules = mofn.measure_held_out(rules, test_hidden, test_targets)
print(*rules, sep="\n")

# %% [markdown]
# A hidden unit is on when its activation reaches a threshold: the one that tells most about the
# class that the network predicts.

# %%
hidden_targets, thresholds = mofn.binarize_targets(train_hidden, train_predictions, num_classes=3)
front = mofn.extract_layer(model.coefs_[0], wine.train.inputs, hidden_targets)
rules = mofn.select_rules(front, beta=0.3)
rules = mofn.measure_held_out(rules, wine.test.inputs, test_hidden >= thresholds)
for rule, threshold in zip(rules, thresholds, strict=True):
    print(mofn.format_rule(rule._replace(unit_threshold=threshold), names))

# %% [markdown]
# Not even weights are needed. With `None` in their place, a rule can span several layers: here from
# the measurements straight to the answer. Read the first as: the network says "kind 0" when all
# three measurements are at least so large, in standard deviations above the mean of the training
# examples.

# %%
front = mofn.extract_layer(None, wine.train.inputs, train_targets)
rules = mofn.select_rules(front, beta=0.1)
rules = mofn.measure_held_out(rules, wine.test.inputs, test_targets)
for rule in rules:
    print(mofn.format_rule(rule, names))
