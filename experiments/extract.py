"""The main job: train a network, extract M-of-N rules from every layer, show how true they are.

    python -m experiments.extract --dataset=digits --network=CNN --activation=relu

Rules are found on training examples and measured on test examples: of a convolution at every
position, or with --positions=most_informative, as in the paper, each filter at one. Last comes the
network as a whole: what the rules of all its classes answer together, and how often as it does.

The working directory receives config.json, layers.csv, rules.json, rules.txt, landscape.png,
answers.txt and the parameters; a run that is interrupted leaves whole files of the layers already
done.

On several devices: --mesh=units:4,examples:2. On several hosts, each runs this command with the
same flags and its own number as --process_id, --coordinator=HOST:PORT of the first, and their
--num_processes. Each trains the network by itself, goes on with the first one's parameters, and
captures the layers by itself; they find the rules together, and the first one writes the files.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from absl import flags
from jax.sharding import Mesh

import mofn_jax as mofn
from experiments import command_line, devices
from experiments.progress import UnitBar
from experiments.trained import ACTIVATIONS, NETWORKS, train
from mofn_jax import outputs


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("dataset", "digits", "A name load_dataset knows.", flag_values=values)
    flags.DEFINE_string("data_dir", None, "Where TFDS keeps its datasets.", flag_values=values)
    flags.DEFINE_enum("network", "CNN", list(NETWORKS), "What to train.", flag_values=values)
    flags.DEFINE_enum("activation", "relu", ACTIVATIONS, "Its nonlinearity.", flag_values=values)
    flags.DEFINE_integer("num_epochs", 20, "Epochs of training.", 1, flag_values=values)
    flags.DEFINE_integer("seed", 0, "Of the data's split and of training.", flag_values=values)
    flags.DEFINE_list("layers", None, "Layers to explain; all by default.", flag_values=values)
    flags.DEFINE_integer(
        "num_examples", None, "Training examples to find rules on.", 1, flag_values=values
    )
    flags.DEFINE_string("params", None, "Parameters to restore, not train.", flag_values=values)
    command_line.define_positions(values)
    define_extraction_flags(values)


def define_extraction_flags(values: flags.FlagValues) -> None:
    """The flags of every script that extracts rules and writes them to a folder."""
    command_line.define_list(values, "betas", mofn.DEFAULT_BETAS, "Prices of complexity.")
    command_line.define_list(values, "lengths", [3, 10, 40], "Numbers of literals, at most.")
    flags.DEFINE_enum("search", "best", list(mofn.SEARCHES), "How to search.", flag_values=values)
    flags.DEFINE_bool(
        "refine", False, "Move thresholds; the best search does anyway.", flag_values=values
    )
    flags.DEFINE_integer(
        "max_literals", None, "The most literals in a rule.", 1, flag_values=values
    )
    flags.DEFINE_string(
        "workdir", None, "Where to write; under runs/ if not given.", flag_values=values
    )
    flags.DEFINE_integer("memory_budget", 2**29, "Bytes of working memory.", 1, flag_values=values)
    command_line.define_compilation_cache(values)
    devices.define_flags(values)


def extraction_options(options: flags.FlagValues, mesh: Mesh | None) -> dict[str, Any]:
    """The keyword arguments of an extraction that these flags ask for."""
    return {
        "betas": command_line.numbers("betas", options.betas),
        "lengths": command_line.numbers("lengths", options.lengths, int, least=1),
        "search": options.search,
        "refine": options.refine,
        "max_literals": options.max_literals,
        "memory_budget": options.memory_budget,
        "mesh": mesh,
    }


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    command_line.use_compilation_cache(options)
    mesh, first = devices.start(options), devices.is_first_process()
    extraction = extraction_options(options, mesh)
    name = f"{options.dataset}-{options.network}-{options.activation}-{options.seed}"
    workdir = Path(options.workdir or f"runs/{name}")
    dataset = mofn.load_dataset(options.dataset, data_dir=options.data_dir, seed=options.seed)
    network = NETWORKS[options.network](dataset.num_classes, activation=options.activation)
    if first:
        outputs.write_config(workdir, options.flag_values_dict())
    if options.params:
        params = mofn.restore_params(options.params)
    else:
        params = train(network, dataset, options.num_epochs, options.seed).params
        params = devices.of_first_process(params)
        if first:
            mofn.save_params(workdir / "params", params)
    examples = dataset.train.inputs[: options.num_examples]

    results: list[mofn.LayerRules] = []
    with UnitBar(disable=not first) as bar:

        def finish(result: mofn.LayerRules) -> None:
            results.append(result)
            if first:
                outputs.write_results(workdir, results)

        mofn.extract_network(
            network,
            params,
            examples,
            held_out=dataset.test.inputs,
            layers=options.layers,
            on_start=bar.start,
            progress=bar.update,
            on_stage=bar.stage,
            on_layer=finish,
            positions=options.positions,
            **extraction,
        )
        sides = (examples, dataset.test.inputs)
        answers = answers_of_network(network, params, sides, results, options, mesh, bar)
    if not first:
        return
    print(outputs.summary(results))
    print(f"\nfound on {len(examples)} training examples, held out {len(dataset.test.inputs)}")
    text = "".join(f"about {about}, {answer}\n\n" for about, answer in answers.items())
    outputs.write_text(workdir / "answers.txt", text)
    print("\nthe network as a whole, as the rules of all classes answer together:")
    for line in text.splitlines():
        if line.startswith("about"):
            print(line)
    print(f"tables, rules, picture and parameters are in {workdir}")


def answers_of_network(
    network: nn.Module,
    params: Any,
    sides: tuple[np.ndarray, np.ndarray],
    results: Sequence[mofn.LayerRules],
    options: flags.FlagValues,
    mesh: Mesh | None,
    bar: UnitBar,
) -> dict[str, mofn.Answers]:
    """What the rules of all classes answer together, by what they are about.

    Args:
      network: a Linen module.
      params: its parameters.
      sides: its inputs on which rules are found, and held-out ones.
      results: of its layers.
      options: of the script.
      mesh: devices to divide the work among.
      bar: shows the progress.
    """
    layers = [mofn.capture_layers(network, params, side, layers=["softmax"])[0] for side in sides]
    said, others = (layer.predictions for layer in layers)
    bar.start("inputs", int(said.max()) + 1)
    answers = {
        "its inputs": mofn.explain_predictions(
            sides[0],
            said,
            held_out=(sides[1], others),
            search=options.search,
            memory_budget=options.memory_budget,
            mesh=mesh,
            progress=bar.update,
            on_stage=bar.stage,
        )
    }
    for result in results:
        if result.kind == "softmax":
            *_, rules = (*result.rules.values(), *result.by_length.values())
            answers["what enters its softmax layer"] = mofn.answer_from_rules(
                rules, layers[0].inputs, said, held_out=(layers[1].inputs, others)
            )
    return answers


if __name__ == "__main__":
    command_line.run(main)
