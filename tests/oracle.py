"""The method by plain loops over everything, written to be obviously right."""

import itertools
import math


def entropy(labels):
    total = len(labels)
    shares = [labels.count(label) / total for label in sorted(set(labels))]
    return -sum(share * math.log(share) for share in shares)


def gain(values, labels, threshold):
    above = [label for value, label in zip(values, labels, strict=True) if value >= threshold]
    below = [label for value, label in zip(values, labels, strict=True) if value < threshold]
    return entropy(labels) - sum(
        len(side) / len(labels) * entropy(side) for side in (above, below) if side
    )


def candidates(values):
    """All thresholds to try."""
    return sorted(set(values))[1:]


def literals(weights, thresholds):
    """(input, threshold, negated) in order; a threshold of None is an input without one."""
    kept = [i for i in range(len(weights)) if weights[i] != 0 and thresholds[i] is not None]
    kept.sort(key=lambda i: (-abs(weights[i]), i))
    return [(i, thresholds[i], weights[i] < 0) for i in kept]


def holds(literal, example):
    i, threshold, negated = literal[:3]
    return example[i] < threshold if negated else example[i] >= threshold


def says(m, rule_literals, example):
    return sum(holds(literal, example) for literal in rule_literals) >= m


def errors(m, rule_literals, examples, target):
    return sum(
        says(m, rule_literals, example) != on for example, on in zip(examples, target, strict=True)
    )


def moved(rule_literals, i, threshold):
    """The literals, one of them with another threshold."""
    column, _, negated = rule_literals[i]
    return [*rule_literals[:i], (column, threshold, negated), *rule_literals[i + 1 :]]


def refined(m, rule_literals, examples, target):
    """The literals with their thresholds moved by turns, each to the first of its best places."""
    i, unmoved = 0, 0
    while unmoved < len(rule_literals):
        column = [example[rule_literals[i][0]] for example in examples]
        ways = [
            (errors(m, moved(rule_literals, i, threshold), examples, target), threshold)
            for threshold in candidates(column)
        ]
        unmoved += 1
        if ways and min(ways)[0] < errors(m, rule_literals, examples, target):
            rule_literals, unmoved = moved(rule_literals, i, min(ways)[1]), 1
        i = (i + 1) % len(rule_literals)
    return rule_literals


def complexity(m, num_literals, num_inputs):
    if m == 0 or m == num_literals + 1:
        return 0.0
    half = math.ceil((num_inputs + 1) / 2)
    longest = math.log(half * math.comb(num_inputs, half))
    if longest == 0:
        return 0.0
    return math.log(m * math.comb(num_literals, m)) / longest


def length(m, num_literals):
    """What complexity is the logarithm of, exactly."""
    return 1 if m == 0 or m == num_literals + 1 else m * math.comb(num_literals, m)


def front(scored, criteria=3):
    """Of (errors, length, N, M), those no other beats in the first so many criteria.

    Of equals the smaller (N, M).
    """

    def beaten(one):
        return any(
            (
                all(theirs <= mine for theirs, mine in zip(other[:criteria], one, strict=False))
                and other[:criteria] != one[:criteria]
            )
            or (other[:criteria] == one[:criteria] and other[2:] < one[2:])
            for other in scored
        )

    return sorted({one for one in scored if not beaten(one)}, key=lambda one: (one[1], one[0]))


def prefix_rules(rule_literals, examples, target):
    """(errors, length, N, M) of every rule over the first N literals."""
    return [
        (errors(m, rule_literals[:taken], examples, target), length(m, taken), taken, m)
        for taken in range(len(rule_literals) + 1)
        for m in range(taken + 2)
    ]


def best_loss(scored, beta, num_examples, num_inputs):
    """The rule of least loss; on a tie the less complex, then the smaller N, then the smaller M."""
    return min(
        scored,
        key=lambda one: (
            round(one[0] / num_examples + beta * complexity(one[3], one[2], num_inputs), 12),
            one[1],
            one[2],
            one[3],
        ),
    )


def best_subset_errors(rule_literals, examples, target, largest=None):
    """{(N, M): the least errors of "at least M of N" over all sets of N = 0..largest literals}."""
    return {
        (size, m): min(
            errors(m, subset, examples, target)
            for subset in itertools.combinations(rule_literals, size)
        )
        for size in range((len(rule_literals) if largest is None else largest) + 1)
        for m in range(size + 2)
    }


def best_signed_subset_errors(rule_literals, examples, target, largest):
    """{(N, M): the least errors over all sets of N = 1..largest literals, each negated or not}."""
    return {
        (size, m): min(
            errors(
                m,
                [(i, t, n != flip) for (i, t, n), flip in zip(subset, flips, strict=True)],
                examples,
                target,
            )
            for subset in itertools.combinations(rule_literals, size)
            for flips in itertools.product([False, True], repeat=size)
        )
        for size in range(1, largest + 1)
        for m in range(1, size + 1)
    }
