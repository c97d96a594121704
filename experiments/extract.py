"""The main job: train a network, extract M-of-N rules from every layer, show how true they are.

    python -m experiments.extract --dataset=digits --network=CNN --activation=relu

Rules are found on training examples and measured on test examples: of a convolution at every
position, or with --positions=most_informative, as in the paper, each filter at one. Last comes the
network as a whole: what the rules of all its classes answer together, and how often as it does.

The working directory receives report.html, a page to read first, config.json, layers.csv,
rules.json, rules.txt, landscape.png, answers.txt and the parameters; a run that is interrupted
leaves whole files of the layers already done. It takes one run at a time, and results of the same
flags alone.

On several devices: --mesh=units:4,examples:2. On several hosts, each runs this command with the
same flags and its own number as --process_id, --coordinator=HOST:PORT of the first, and their
--num_processes. Each trains the network by itself, goes on with the first one's parameters, and
captures the layers by itself; they find the rules together, and the first one writes the files.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from absl import flags
from jax.sharding import Mesh

import mofn_jax as mofn
from experiments import command_line, devices, kept
from experiments.progress import UnitBar
from experiments.trained import (
    ACTIVATIONS,
    NETWORKS,
    before_training,
    define_data_dir,
    make_network,
    sides,
    train,
)
from mofn_jax import checks, outputs
from mofn_jax.page import examples_to_show
from mofn_jax.sites import POSITIONS
from mofn_jax.training import check_can_save


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "dataset",
        "digits",
        "The dataset to learn, by a name that load_dataset knows.",
        flag_values=values,
    )
    define_data_dir(values)
    flags.DEFINE_enum(
        "network",
        None,
        list(NETWORKS),
        "The network that learns it; by default a CNN on images and an MLP on tables.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "activation", "relu", ACTIVATIONS, "The nonlinearity of its layers.", flag_values=values
    )
    flags.DEFINE_integer(
        "num_epochs", 20, "For how many epochs it is trained.", 1, flag_values=values
    )
    command_line.define_seed(
        values, "Draws the data's split, the first parameters and the batches."
    )
    command_line.define_list(
        values,
        "layers",
        None,
        "The layers to explain, by name; all by default.",
        may_be_empty=False,
    )
    flags.DEFINE_integer(
        "num_examples",
        None,
        "How many training examples rules are found on; all by default.",
        1,
        flag_values=values,
    )
    flags.DEFINE_string(
        "params",
        None,
        "The folder of parameters of an earlier run, to explain instead of training.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "positions",
        "all",
        list(POSITIONS),
        "Where filters are explained: at every position, or each at the one that tells most.",
        flag_values=values,
    )
    define_extraction_flags(values)


def define_extraction_flags(values: flags.FlagValues) -> None:
    """The flags of every script that extracts rules and writes them to a folder."""
    command_line.define_choices(values, lengths=[3, 10, 40])
    flags.DEFINE_enum(
        "search", "best", list(mofn.SEARCHES), "How rules are searched for.", flag_values=values
    )
    flags.DEFINE_bool(
        "refine",
        False,
        "Whether thresholds of the rules found are moved; the best search does so anyway.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_literals",
        None,
        "The most literals that any rule may have; no limit by default.",
        1,
        flag_values=values,
    )
    command_line.define_folder(
        values, "workdir", None, "The folder to write to; one under runs/ by default."
    )
    flags.DEFINE_integer(
        "memory_budget",
        2**29,
        "How many bytes of working memory may be used; no result depends on it.",
        1,
        flag_values=values,
    )
    command_line.define_compilation_cache(values)
    devices.define_flags(values)


def extraction_options(options: flags.FlagValues, mesh: Mesh | None) -> dict[str, Any]:
    """The keyword arguments of an extraction that these flags ask for."""
    return {
        **command_line.choices(options),
        "search": options.search,
        "refine": options.refine,
        "max_literals": options.max_literals,
        "memory_budget": options.memory_budget,
        "mesh": mesh,
    }


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    command_line.use_compilation_cache(options)
    command_line.choices(options)  # before other processes are waited for
    dataset = mofn.load_dataset(options.dataset, data_dir=options.data_dir, seed=options.seed)
    mesh, first = devices.start(options), devices.is_first_process()
    params = None
    if options.params is not None:
        params = mofn.restore_params(options.params)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
            raise ValueError(f"params: those in {options.params} hold NaN or infinity")
    kind = options.network or ("CNN" if dataset.train.inputs.ndim == 4 else "MLP")
    network = make_network(kind, options.activation, dataset)
    some = dataset.train.inputs[:2]
    # Those to restore are looked at too: whether they are of this network.
    names = mofn.layer_names(
        network, before_training(network, some) if params is None else params, some
    )
    for layer in options.layers or ():
        checks.known("layers", layer, names)
    name = f"{options.dataset}-{kind}-{options.activation}-{options.seed}"
    workdir = Path(options.workdir or f"runs/{name}").expanduser()
    with kept.alone_in(workdir) if first else nullcontext():
        if first:
            check_can_save(workdir / "params")
            kept.open_folder(workdir, options)
        if params is None:
            params = train(network, dataset, options.num_epochs, options.seed).params
            params = devices.of_first_process(params)
            if first:
                mofn.save_params(workdir / "params", params)
        explain(network, params, dataset, options, mesh, workdir if first else None)


def explain(
    network: nn.Module,
    params: Any,
    dataset: mofn.Dataset,
    options: flags.FlagValues,
    mesh: Mesh | None,
    workdir: Path | None,
) -> None:
    """Finds the rules of a trained network, and writes them and prints a summary if it has where.

    Args:
      network: a Linen module.
      params: its parameters.
      dataset: what it was trained on.
      options: of the script.
      mesh: devices to divide the work among.
      workdir: where to write; None for another process than the first.
    """
    examples, held_out = sides(dataset, options.num_examples)
    # What a run of the same flags has left whole is replaced when all is there again.
    was_done = workdir is not None and (workdir / "answers.txt").exists()
    results: list[mofn.LayerRules] = []
    with UnitBar(disable=workdir is None) as bar:

        def finish(result: mofn.LayerRules) -> None:
            results.append(result)
            if workdir is not None and not was_done:
                outputs.write_results(workdir, results)

        mofn.extract_network(
            network,
            params,
            examples,
            held_out=held_out,
            layers=options.layers,
            on_start=bar.start,
            progress=bar.update,
            on_stage=bar.stage,
            on_layer=finish,
            names=dataset.names,
            positions=options.positions,
            **extraction_options(options, mesh),
        )
        answers = answers_of_network(
            network, params, (examples, held_out), dataset.names, results, options, mesh, bar
        )
    if workdir is None:
        return
    if was_done:
        outputs.write_results(workdir, results)
    print(outputs.summary(results))
    others = "the same table as the test examples: no others to measure them on"
    if held_out is not None:
        others = f"held out {len(held_out)}"
    found_on = f"found on {len(examples)} training examples, {others}"
    print(f"\n{found_on}")
    if held_out is None:
        shown = mofn.Split(examples, dataset.train.labels[: len(examples)])
    else:  # of a complete table, what was left of it
        shown = mofn.Split(held_out, dataset.test.labels[-len(held_out) :])
    page = report_page(
        network,
        params,
        shown,
        dataset.names,
        results,
        answers,
        title=f"{dataset.name}: {type(network).__name__}, {options.activation}",
        about=f"Rules of a network that learned {dataset.name}, {found_on}.",
    )
    outputs.write_text(workdir / "report.html", page)
    text = "".join(f"about {about}, {answer}\n\n" for about, answer in answers.items())
    outputs.write_text(workdir / "answers.txt", text)
    print("\nthe network as a whole, as the rules of all classes answer together:")
    for about, answer in answers.items():
        first, *rules = str(answer).splitlines()
        print("\n".join([f"about {about}, {first}", *(rules if about.endswith("shortly") else [])]))
    print(f"tables, rules, picture and parameters are in {workdir}")
    print(f"open first: {workdir / 'report.html'}")


def report_page(
    network: nn.Module,
    params: Any,
    examples: mofn.Split,
    names: mofn.Names,
    results: Sequence[mofn.LayerRules],
    answers: Mapping[str, mofn.Answers],
    **texts: str,
) -> str:
    """The page of a network's rules, which shows some of these examples; texts as `report_html`."""
    keep = examples_to_show(examples.inputs)
    shown = examples.inputs[keep]
    layers = (
        layer
        for result in results  # one at a time
        for layer in mofn.capture_layers(network, params, shown, layers=[result.name], names=names)
    )
    return mofn.report_html(
        results,
        layers,
        inputs=shown,
        labels=examples.labels[keep],
        class_names=names.classes,
        answers={name: one for name, one in answers.items() if name.startswith("its inputs")},
        **texts,
    )


def answers_of_network(
    network: nn.Module,
    params: Any,
    inputs: tuple[np.ndarray, np.ndarray | None],
    names: mofn.Names,
    results: Sequence[mofn.LayerRules],
    options: flags.FlagValues,
    mesh: Mesh | None,
    bar: UnitBar,
) -> dict[str, mofn.Answers]:
    """What the rules of all classes answer together, by what they are about.

    Args:
      network: a Linen module.
      params: its parameters.
      inputs: its inputs on which rules are found, and held-out ones, if there are any.
      names: of these and of the classes.
      results: of its layers.
      options: of the script.
      mesh: devices to divide the work among.
      bar: shows the progress.
    """
    layer, *others = (
        mofn.capture_layers(network, params, side, layers=["softmax"])[0]
        for side in inputs
        if side is not None
    )
    answers = {}
    lengths = {"its inputs": 30}
    if inputs[0].ndim == 2:  # a table: in its own words, shortly too, what the network goes by
        lengths = {"its inputs, shortly": 3, **lengths}
    for about, length in lengths.items():
        bar.start("inputs", layer.activations.shape[1])
        answers[about] = mofn.explain_predictions(
            inputs[0],
            layer.predictions,
            held_out=(inputs[1], others[0].predictions) if others else None,
            num_classes=layer.activations.shape[1],
            max_literals=length,
            names=names,
            search=options.search,
            memory_budget=options.memory_budget,
            mesh=mesh,
            progress=bar.update,
            on_stage=bar.stage,
        )
    for result in results:
        if result.kind == "softmax":
            *_, rules = result.choices
            answers["what enters its softmax layer"] = mofn.answer_from_rules(
                rules,
                layer.inputs,
                layer.predictions,
                held_out=(others[0].inputs, others[0].predictions) if others else None,
            )
    return answers


if __name__ == "__main__":
    command_line.run(main)
