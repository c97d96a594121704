"""Rules of one layer of a network trained elsewhere, from saved arrays of any framework.

    python -m experiments.extract_arrays --kind=hidden --weights=w.npy --inputs=x.npy \
        --activations=h.npy --outputs=logits.npy

Arrays are .npy, .npz (one array in it, or FILE.npz:NAME) or .csv (comma-separated, with or without
a header). The outputs say which class the network predicts for each example. Rules are found on
some of the examples, drawn by the seed, and measured on the others. The working directory receives
config.json, layers.csv, rules.json, rules.txt and landscape.png.

Without held-out examples (--held_out=0) the inputs in a .npy file may be larger than memory: they
are read in slices. Several devices and hosts: as experiments/extract.py.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

import mofn_jax as mofn
from experiments import command_line, devices
from experiments.extract import define_extraction_flags, extraction_options
from experiments.progress import UnitBar
from mofn_jax import checks, outputs


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum(
        "kind", "softmax", ["softmax", "hidden"], "The layer's kind.", flag_values=values
    )
    flags.DEFINE_string("name", "layer", "What to call the layer.", flag_values=values)
    flags.DEFINE_string("weights", None, "[inputs, units].", flag_values=values, required=True)
    flags.DEFINE_bool(
        "transpose_weights", False, "The weights are [units, inputs].", flag_values=values
    )
    flags.DEFINE_string(
        "inputs", None, "[examples, inputs], what enters it.", flag_values=values, required=True
    )
    flags.DEFINE_string(
        "activations", None, "[examples, units], what leaves a hidden layer.", flag_values=values
    )
    flags.DEFINE_string(
        "outputs",
        None,
        "[examples, classes], the network's outputs (logits or probabilities), or [examples], the "
        "class it predicts.",
        flag_values=values,
        required=True,
    )
    flags.DEFINE_float(
        "held_out", 0.2, "Share of the examples to hold out.", 0, 0.9, flag_values=values
    )
    flags.DEFINE_integer("seed", 0, "Draws the held-out examples.", flag_values=values)
    define_extraction_flags(values)


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    command_line.use_compilation_cache(options)
    mesh, first = devices.start(options), devices.is_first_process()
    extraction = extraction_options(options, mesh)
    workdir = Path(options.workdir or f"runs/{options.name}")
    layer = load_layer(options)
    shuffled = np.random.default_rng(options.seed).permutation(len(layer.inputs))
    num_held_out = round(options.held_out * len(shuffled))
    held_out, found_on = np.sort(shuffled[:num_held_out]), np.sort(shuffled[num_held_out:])
    if first:
        outputs.write_config(workdir, options.flag_values_dict())
    with UnitBar(disable=not first) as bar:
        bar.start(layer.name, layer.weights.shape[1])
        result = mofn.explain_layer(
            take_examples(layer, found_on) if num_held_out else layer,
            held_out=take_examples(layer, held_out) if num_held_out else None,
            progress=bar.update,
            on_stage=bar.stage,
            **extraction,
        )
    if not first:
        return
    outputs.write_results(workdir, [result])
    print(outputs.summary([result]))
    print(f"\nfound on {len(found_on)} examples, held out {num_held_out}")
    print(f"tables, rules and picture are in {workdir}")


def load_layer(options: flags.FlagValues) -> mofn.Layer:
    """The layer that the files describe.

    Raises:
      ValueError: naming the flag, where a file is not there, not numbers, or of another shape.
    """
    inputs = checks.matrix("inputs", load_array("inputs", options.inputs), [None, None])
    weights = load_array("weights", options.weights)
    weights = checks.matrix(
        "weights", weights.T if options.transpose_weights else weights, [inputs.shape[1], None]
    )
    network_outputs = np.squeeze(load_array("outputs", options.outputs))
    if network_outputs.ndim == 2:
        checks.matrix("outputs", network_outputs, [len(inputs), None])
        predictions = network_outputs.argmax(1)
    else:
        checks.matrix("outputs", network_outputs, [len(inputs)])
        predictions = network_outputs.astype(np.int32)
        if (predictions != network_outputs).any() or predictions.min() < 0:
            raise ValueError("outputs: expected [examples, classes], or classes from 0")
    if options.kind == "softmax":
        activations = predictions[:, None] == np.arange(weights.shape[1])
        if predictions.max() >= weights.shape[1]:
            raise ValueError(
                f"outputs: predict class {predictions.max()}, but weights have "
                f"{weights.shape[1]} units"
            )
    elif options.activations is None:
        raise ValueError("activations: needed for a hidden layer")
    else:
        activations = checks.matrix(
            "activations",
            load_array("activations", options.activations),
            [len(inputs), weights.shape[1]],
        )
    return mofn.Layer(
        name=options.name,
        kind="softmax" if options.kind == "softmax" else "dense",
        weights=weights,
        bias=np.zeros(weights.shape[1], np.float32),
        inputs=inputs,
        activations=activations,
        predictions=predictions.astype(np.int32),
    )


def load_array(name: str, file: str) -> np.ndarray:
    """The array in a .npy, .npz or .csv file; a .npy is mapped, not read.

    Raises:
      ValueError: naming the argument, where the file is not there or holds something else.
    """
    path, _, key = file.partition(":")
    suffix = Path(path).suffix
    checks.known(f"{name} (ending of {path})", suffix, [".npy", ".npz", ".csv"])
    if not Path(path).is_file():
        raise ValueError(f"{name}: no file {path}")
    if suffix == ".npy":
        return np.load(path, mmap_mode="r")
    if suffix == ".npz":
        arrays = np.load(path)
        if key:
            return arrays[checks.known(f"{name} (array in {path})", key, arrays.files)]
        if len(arrays.files) != 1:
            raise ValueError(f"{name}: {path} holds {arrays.files}; say which as {path}:NAME")
        return arrays[arrays.files[0]]
    with open(path) as lines:
        first = lines.readline().split(",")
    try:
        [float(field) for field in first]
        header = 0
    except ValueError:
        header = 1
    try:
        return np.loadtxt(path, delimiter=",", skiprows=header, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{name}: {path} is not a table of numbers ({error})") from error


def take_examples(layer: mofn.Layer, examples: np.ndarray) -> mofn.Layer:
    """The layer on some of its examples."""
    return layer._replace(
        inputs=layer.inputs[examples],
        activations=layer.activations[examples],
        predictions=layer.predictions[examples],
    )


if __name__ == "__main__":
    command_line.run(main)
