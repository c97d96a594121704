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
# [Open in Colab](https://colab.research.google.com/github/mofn-jax/mofn_jax/blob/main/notebooks/your_own_network.ipynb)
#
# Rules of networks that you wrote and trained yourself: in Linen, a ResNet in NNX, a small
# transformer; of a network from another framework, of which you only have arrays; and of any black
# box.

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
from flax import nnx
from sklearn.neural_network import MLPClassifier

import mofn_jax as mofn
from mofn_jax import report

print(mofn.describe_devices())

# %% [markdown]
# ## A Linen network
#
# Any Linen module will do. It only has to return its logits. When it is called with the inputs
# alone, it should do what it does in use: here no dropout.


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
# `capture_layers` traces the network: what enters and leaves each layer, under the names of the
# parameter tree. The layer that gives the logits is of kind "softmax". (If your module needs
# arguments when it is used, hand them over here and below, such as `call_kwargs={"train": False}`.)

# %%
for layer in mofn.capture_layers(network, params, images):
    print(f"{layer.name}: {layer.kind}, in {layer.inputs.shape}, out {layer.activations.shape}")

# %% [markdown]
# `extract_network` captures and explains, all layers or those you name: here the first and the
# last. The rule of a convolution's filter holds at every position: "c0[-1,+1]" is channel 0 of its
# input, one row above and one column right of the centre of its patch. Below the table, three rules
# of each layer.

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
# ## A ResNet in NNX
#
# An NNX module holds its own parameters: `None` stands in their place. It is read as for inference,
# and left as it was. Batch normalisation is folded into the weights that a rule sees: a unit of
# which it turns the sign has the signs of its weights turned.


# %%
class ResNet(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(1, 8, (3, 3), use_bias=False, rngs=rngs)
        self.stem_norm = nnx.BatchNorm(8, rngs=rngs)
        self.inner = nnx.Conv(8, 8, (3, 3), use_bias=False, rngs=rngs)
        self.inner_norm = nnx.BatchNorm(8, rngs=rngs)
        self.outer = nnx.Conv(8, 8, (3, 3), use_bias=False, rngs=rngs)
        self.outer_norm = nnx.BatchNorm(8, rngs=rngs)
        self.head = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, images):
        x = nnx.relu(self.stem_norm(self.stem(images)))
        y = nnx.relu(self.inner_norm(self.inner(x)))
        x = nnx.relu(x + self.outer_norm(self.outer(y)))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        return self.head(x.reshape(len(x), -1))


resnet = ResNet(nnx.Rngs(0))
resnet_optimizer = nnx.Optimizer(resnet, optax.adam(3e-3), wrt=nnx.Param)


@nnx.jit
def resnet_step(model, optimizer, images, labels):
    def loss(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()

    optimizer.update(model, nnx.grad(loss)(model))


for _ in range(200):
    batch = shuffle.choice(len(labels), 64)
    resnet_step(resnet, resnet_optimizer, images[batch], labels[batch])

for layer in mofn.capture_layers(resnet, None, images):
    print(f"{layer.name}: {layer.kind}, out {layer.activations.shape}. {layer.note}")

# %% [markdown]
# Three of its layers end in a nonlinearity, or are the answer. The one before the sum says so: its
# units are explained as they enter the sum. The rules of its filters:

# %%
(result,) = mofn.extract_network(
    resnet, None, images, held_out=digits.test.inputs, layers=["inner"], lengths=[4], betas=()
)
print(*result.at(max_literals=4)[:3], sep="\n")

# %% [markdown]
# ## A small transformer
#
# Each row of an image is a token. What is a layer in it? Every product of what depends on the
# inputs with parameters: attention's projections too. A unit is computed at every token; its rule
# holds at each of them.


# %%
class Transformer(nn.Module):
    @nn.compact
    def __call__(self, images):
        x = nn.Dense(16, name="embed")(images[..., 0])
        x = x + self.param("places", nn.initializers.normal(0.5), (1, *x.shape[1:]))
        y = nn.LayerNorm(name="norm_0")(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=2, name="attention")(y)
        y = nn.gelu(nn.Dense(32, name="up")(nn.LayerNorm(name="norm_1")(x)))
        x = x + nn.Dense(16, name="down")(y)
        return nn.Dense(10, name="answer")(x.reshape(len(x), -1))


transformer = Transformer()
variables = transformer.init(jax.random.key(0), images[:1])
state = optimizer.init(variables)


@jax.jit
def transformer_step(variables, state, images, labels):
    def loss(variables):
        logits = transformer.apply(variables, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    updates, state = optimizer.update(jax.grad(loss)(variables), state)
    return optax.apply_updates(variables, updates), state


for _ in range(300):
    batch = shuffle.choice(len(labels), 64)
    variables, state = transformer_step(variables, state, images[batch], labels[batch])

for layer in mofn.capture_layers(transformer, variables, images):
    print(f"{layer.name}: {layer.kind}, out {layer.activations.shape}. {layer.note}")

# %%
(result,) = mofn.extract_network(
    transformer,
    variables,
    images,
    held_out=digits.test.inputs,
    layers=["up"],
    lengths=[4],
    betas=(),
    search="stepwise",
)
print(*result.at(max_literals=4)[:3], sep="\n")

# %% [markdown]
# ## Arrays of PyTorch
#
# `layer_from_arrays` makes a layer of a network in any framework: its weights, what enters it, what
# leaves it, and what the network says. PyTorch keeps the units of a kernel first and the channels
# of an image before its rows; `layout="torch"` says so. Here the arrays are those of the first
# layer above, laid out as PyTorch has them.

# %%
first, *_ = mofn.capture_layers(network, params, images)
torch_weight = first.weights.transpose(3, 2, 0, 1)  # layer.weight.detach().numpy()
torch_inputs = first.inputs.transpose(0, 3, 1, 2)
torch_outputs = first.activations.transpose(0, 3, 1, 2)  # after the relu
layer = mofn.layer_from_arrays(
    "conv",
    torch_weight,
    torch_inputs,
    torch_outputs,
    first.predictions,
    layout="torch",
    padding=1,
)
print(*mofn.explain_layer(layer, betas=[0.3]).at(beta=0.3)[:3], sep="\n")

# %% [markdown]
# ## A black box
#
# Not even a layer is needed: what does the network say, as rules about its inputs? One for each
# class; the class whose rule holds best is the answer of all. Beside it is a decision tree with as
# many tests as the rules have literals.

# %%
answers = mofn.explain_predictions(
    images,
    first.predictions,
    held_out=(digits.test.inputs, logits.argmax(-1)),
    max_literals=12,
    search="stepwise",
)
print(answers)

# %% [markdown]
# ## Arrays, step by step
#
# `extract_layer` needs only arrays: the weights of a layer, what enters it, and when each of its
# units is on. Take a network of scikit-learn that tells three kinds of wine apart.

# %%
wine = mofn.load_dataset("wine")
model = MLPClassifier((8,), solver="lbfgs", alpha=0.1, max_iter=1000, random_state=0)
model.fit(wine.train.inputs, wine.train.labels)
print(f"right on {model.score(wine.test.inputs, wine.test.labels):.1%} of the test examples")

# %% [markdown]
# Its weights are in `coefs_`, [inputs, units] as we want them. What enters the last layer we
# compute.


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
    print(mofn.format_rule(rule._replace(unit_threshold=threshold), wine.feature_names))

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
    print(mofn.format_rule(rule, wine.feature_names))
