"""Rules of one layer of a network trained elsewhere, from saved arrays of any framework.

    python -m experiments.extract_arrays --kind=hidden --weights=w.npy --inputs=x.npy \
        --activations=h.npy --outputs=logits.npy

Arrays are .npy, .npz (one array in it, or FILE.npz:NAME) or .csv (in UTF-8, comma-separated, with
or without a header); names of inputs and classes are text files, a name a line. The outputs say
which class the network predicts for each example. Rules are found on some of the examples, drawn by
the seed, and measured on the others. The working directory receives report.html, a page to read
first, config.json, layers.csv, rules.json, rules.txt and landscape.png; it takes one run at a time,
and results of the same flags alone.

Without held-out examples (--held_out=0) the inputs in a .npy file may be larger than memory: they
are read in slices. Several devices and hosts: as experiments/extract.py.
"""

import math
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from absl import flags

import mofn_jax as mofn
from experiments import command_line, devices, kept
from experiments.array_files import load_array, load_names
from experiments.extract import define_extraction_flags, extraction_options
from experiments.progress import UnitBar
from mofn_jax import checks, outputs
from mofn_jax.layers import take_examples
from mofn_jax.page import examples_to_show


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum(
        "kind",
        "softmax",
        ["softmax", "hidden"],
        "Whether the layer is the one of the classes or one before it.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "name", "layer", "What the layer is called in what is written.", flag_values=values
    )
    flags.register_validator("name", lambda name: name.strip(". /"), "it is no name", values)
    flags.DEFINE_string(
        "weights",
        None,
        "The file of its weights, [inputs, units].",
        flag_values=values,
        required=True,
    )
    flags.DEFINE_bool(
        "transpose_weights",
        False,
        "Whether the weights are [units, inputs], as PyTorch keeps them.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "inputs",
        None,
        "The file of what enters it, [examples, inputs].",
        flag_values=values,
        required=True,
    )
    flags.DEFINE_string(
        "activations",
        None,
        "The file of what leaves a hidden layer, [examples, units].",
        flag_values=values,
    )
    flags.DEFINE_string(
        "outputs",
        None,
        "The file of the network's outputs, logits or probabilities [examples, classes], or of the "
        "classes it predicts, [examples].",
        flag_values=values,
        required=True,
    )
    flags.DEFINE_string(
        "input_names",
        None,
        "A text file of the inputs' names, one on each line.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "class_names",
        None,
        "A text file of the classes' names, one on each line.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "held_out",
        0.2,
        "The share of the examples that rules are not found but measured on.",
        0,
        0.9,
        flag_values=values,
    )
    flags.register_validator("held_out", math.isfinite, "it is no number", values)
    command_line.define_seed(values, "Draws which examples are held out.")
    define_extraction_flags(values)


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    command_line.use_compilation_cache(options)
    command_line.choices(options)  # before other processes are waited for
    mesh, first = devices.start(options), devices.is_first_process()
    layer = load_layer(options)
    shuffled = np.random.default_rng(options.seed).permutation(len(layer.inputs))
    num_held_out = min(round(options.held_out * len(shuffled)), len(shuffled) - 1)
    held_out, found_on = np.sort(shuffled[:num_held_out]), np.sort(shuffled[num_held_out:])
    workdir = Path(options.workdir or f"runs/{options.name.replace('/', '_')}").expanduser()
    with kept.alone_in(workdir) if first else nullcontext():
        if first:
            kept.open_folder(workdir, options)
        with UnitBar(disable=not first) as bar:
            bar.start(layer.name, layer.weights.shape[1])
            result = mofn.explain_layer(
                take_examples(layer, found_on) if num_held_out else layer,
                held_out=take_examples(layer, held_out) if num_held_out else None,
                progress=bar.update,
                on_stage=bar.stage,
                **extraction_options(options, mesh),
            )
        if first:
            outputs.write_results(workdir, [result])
            print(outputs.summary([result]))
            text = f"found on {len(found_on)} examples, held out {num_held_out}"
            print(f"\n{text}")
            others = held_out if num_held_out else found_on
            shown = take_examples(layer, others[examples_to_show(others)])
            page = mofn.report_html(
                [result],
                [shown],
                title=layer.name,
                about=f"Rules of one layer, {text}.",
                class_names=load_names("class_names", options.class_names),
            )
            outputs.write_text(workdir / "report.html", page)
            print(f"tables, rules and picture are in {workdir}")
            print(f"open first: {workdir / 'report.html'}")


def load_layer(options: flags.FlagValues) -> mofn.Layer:
    """The layer that the flags describe.

    Raises:
      ValueError: naming the flag and the file of an array that cannot be read or does not fit.
    """
    inputs = load_array("inputs", options.inputs, [None, None])
    if options.transpose_weights:
        weights = load_array("weights", options.weights, [None, inputs.shape[1]]).T
    else:
        weights = load_array("weights", options.weights, [inputs.shape[1], None])
    num_examples, num_units = len(inputs), weights.shape[1]
    predictions = load_predictions(options, num_examples)
    if options.kind == "softmax":
        if predictions.max() >= max(2, num_units):  # one logit is of two classes
            raise ValueError(
                f"outputs: predict class {predictions.max()}, but weights have {num_units} units "
                f"({options.outputs})"
            )
        activations = load_array("outputs", options.outputs)
        if activations.shape != (num_examples, num_units):  # of classes, or of another shape
            classes = np.arange(num_units) if num_units > 1 else 1  # one logit is the second's
            activations = (predictions[:, None] == classes).astype(np.float32)
    elif options.activations is None:
        raise ValueError("activations: needed for a hidden layer")
    else:
        shape = [num_examples, num_units]
        activations = load_array("activations", options.activations, shape)
    kind = "softmax" if options.kind == "softmax" else "dense"
    arrays = weights, inputs, activations, predictions
    name = os.fsencode(options.name).decode(errors="replace")  # in UTF-8, whatever the locale
    names = mofn.Names(
        load_names("input_names", options.input_names),
        load_names("class_names", options.class_names),
    )
    try:
        return mofn.layer_from_arrays(name, *arrays, kind=kind, names=names)
    except ValueError as error:
        for field, flag in (("features", "input_names"), ("classes", "class_names")):
            if str(error).startswith(f"names.{field}: "):
                reason = str(error).removeprefix(f"names.{field}: ")
                raise ValueError(f"{flag}: {reason} ({options[flag].value})") from error
        # Of activations of another layer.
        reason = str(error).removeprefix("outputs: ")
        raise ValueError(f"activations: {reason} ({options.activations})") from error


def load_predictions(options: flags.FlagValues, num_examples: int) -> np.ndarray:
    """The class that the network predicts for each example, [E] integers.

    Raises:
      ValueError: as `load_layer`.
    """
    found = load_array("outputs", options.outputs)
    if found.ndim > 1 and found.shape[1:] != (1,):
        return load_array("outputs", options.outputs, [num_examples, None]).argmax(1)
    classes = found.reshape(-1)
    with np.errstate(invalid="ignore"):
        whole = classes.astype(np.int64)
    try:
        return checks.class_labels(
            "outputs", whole if (whole == classes).all() else classes, None, num_examples
        )
    except ValueError as error:
        raise ValueError(
            "outputs: expected [examples, classes], or classes from 0: "
            f"{str(error).removeprefix('outputs: ')} ({options.outputs})"
        ) from error


if __name__ == "__main__":
    command_line.run(main)
