"""M-of-N rules for every unit of every layer of a trained network, with their error."""

from mofn_jax.fronts import Candidate, RuleFront, merge_fronts
from mofn_jax.literals import Literals, literal_truth, ordered_literals
from mofn_jax.rules import (
    Literal,
    Rule,
    evaluate_rules,
    format_rule,
    measure_held_out,
    rules_from_json,
    rules_to_json,
    select_rules,
)
from mofn_jax.scoring import complexity, pack_examples, score_layer, score_unit
from mofn_jax.thresholds import (
    Thresholds,
    best_thresholds,
    binarize_targets,
    information_gain,
    softmax_targets,
    unit_thresholds,
)
