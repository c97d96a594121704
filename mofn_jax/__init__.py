"""M-of-N rules for every unit of every layer of a trained network, with their error."""

from mofn_jax import plots, report
from mofn_jax.answers import Answers, answer_from_rules, explain_predictions
from mofn_jax.arrays import layer_from_arrays
from mofn_jax.bits import pack_examples
from mofn_jax.bounds import error_bound
from mofn_jax.capture import capture_layers, layer_names
from mofn_jax.complexity import PrefixOrder, complexity, prefix_order
from mofn_jax.data import Dataset, Split, load_dataset
from mofn_jax.devices import describe_devices
from mofn_jax.examples import ExampleExplanation, explain_example
from mofn_jax.explanation import DEFAULT_BETAS, explain_layer, extract_network
from mofn_jax.export import rules_to_markdown, rules_to_python
from mofn_jax.extraction import extract_layer
from mofn_jax.fronts import Candidate, RuleFront, merge_fronts, select
from mofn_jax.geometry import Convolution
from mofn_jax.layer_rules import LayerRules
from mofn_jax.layers import Layer, patches
from mofn_jax.literals import Literals, literal_truth, ordered_literals
from mofn_jax.measures import evaluate_rules, measure_held_out
from mofn_jax.meshes import Resources, make_mesh
from mofn_jax.names import Names
from mofn_jax.networks import CNN, MLP, Autoencoder
from mofn_jax.page import report_html
from mofn_jax.rules import Literal, Rule, format_literals, format_rule, select_rules
from mofn_jax.rules_json import rules_from_json, rules_to_json
from mofn_jax.score_kernels import score_unit
from mofn_jax.scoring import score_layer
from mofn_jax.search import SEARCHES, Search
from mofn_jax.search.exact import provable_literals
from mofn_jax.search.refine import refine_front
from mofn_jax.sites import layer_targets
from mofn_jax.thresholds import (
    Thresholds,
    best_thresholds,
    binarize_targets,
    information_gain,
    most_informative_positions,
    softmax_targets,
    unit_thresholds,
)
from mofn_jax.training import TrainResult, restore_params, save_params, train

__version__ = "0.1.0"

__all__ = [
    "CNN",
    "DEFAULT_BETAS",
    "MLP",
    "SEARCHES",
    "Answers",
    "Autoencoder",
    "Candidate",
    "Convolution",
    "Dataset",
    "ExampleExplanation",
    "Layer",
    "LayerRules",
    "Literal",
    "Literals",
    "Names",
    "PrefixOrder",
    "Resources",
    "Rule",
    "RuleFront",
    "Search",
    "Split",
    "Thresholds",
    "TrainResult",
    "answer_from_rules",
    "best_thresholds",
    "binarize_targets",
    "capture_layers",
    "complexity",
    "describe_devices",
    "error_bound",
    "evaluate_rules",
    "explain_example",
    "explain_layer",
    "explain_predictions",
    "extract_layer",
    "extract_network",
    "format_literals",
    "format_rule",
    "information_gain",
    "layer_from_arrays",
    "layer_names",
    "layer_targets",
    "literal_truth",
    "load_dataset",
    "make_mesh",
    "measure_held_out",
    "merge_fronts",
    "most_informative_positions",
    "ordered_literals",
    "pack_examples",
    "patches",
    "plots",
    "prefix_order",
    "provable_literals",
    "refine_front",
    "report",
    "report_html",
    "restore_params",
    "rules_from_json",
    "rules_to_json",
    "rules_to_markdown",
    "rules_to_python",
    "save_params",
    "score_layer",
    "score_unit",
    "select",
    "select_rules",
    "softmax_targets",
    "train",
    "unit_thresholds",
]
