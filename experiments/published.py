"""What the paper prints: the values that `experiments.paper` sets ours beside.

S. Odense and A. d'Avila Garcez, Layerwise Knowledge Extraction from Deep Convolutional Networks,
KR2ML workshop at NeurIPS 2019; arXiv:2003.09000.
"""

from typing import NamedTuple

from mofn_jax.complexity import complexity


class Published(NamedTuple):
    """A row of a table, or a point of a curve: mean complexity and error of a layer's rules."""

    part: str
    dataset: str
    network: str  # a name in `trained.NETWORKS`
    activation: str
    layer: str
    published: str  # the paper's method, or which point of its curve
    beta: float | None  # where it is known
    paper_complexity: float | None  # None: it found no rules
    paper_error: float | None  # share of examples; None: it says nothing
    paper_time: str = ""


def _table1() -> list[Published]:
    cars = ("car", "SmallMLP", "relu")
    ecoli = ("ecoli", "PaperEcoli", "relu", "dense_0")
    promoters = ("promoters", "PaperPromoters", "relu", "dense_0")
    # CORELS: largest cardinality / least support / regularisation.
    return [
        Published("table1", *where, method, beta, length, error, time)
        for where, method, beta, length, error, time in [
            (promoters, "CORELS 1/.01/.01", None, None, None, "out of memory"),
            (promoters, "M-of-N", 0.3, 0.239, 0.11, "700 s on Spark"),
            ((*cars, "dense_0"), "CORELS 1/.01/.01", None, 0.124, 0.066, "1 s"),
            ((*cars, "dense_0"), "CORELS 2/.05/.05", None, 0.04, 0.127, "1800 s"),
            ((*cars, "dense_0"), "M-of-N", 0.2, 0.131, 0.097, "1 s"),
            ((*cars, "dense_0"), "M-of-N", 1.0, 0.031, 0.146, "1 s"),
            ((*cars, "dense_1"), "CORELS 1/.01/.01", None, 0.053, 0.0095, "1 s"),
            ((*cars, "dense_1"), "CORELS 3/.02/.02", None, 0.079, 0.0058, "1 s"),
            ((*cars, "dense_1"), "M-of-N", 0.3, 0.057, 0.016, "1 s"),
            ((*cars, "dense_1"), "M-of-N", 0.1, 0.069, 0.014, "1 s"),
            (ecoli, "CORELS 1/.01/.01", None, 0.165, 0.084, "1 s"),
            (ecoli, "CORELS 2/.005/.001", None, 0.287, 0.074, "10 s"),
            (ecoli, "M-of-N", 0.2, 0.132, 0.106, "1 s"),
            (ecoli, "M-of-N", 0.1, 0.189, 0.098, "1 s"),
        ]
    ]


# Of the filter in the picture: M, N and error, which the paper prints as if it were percent.
FIGURE1 = ((5, 13, 0.025), (3, 4, 0.043), (1, 1, 0.13))


def _figure1() -> list[Published]:
    where = ("fashion_mnist", "PaperFashion", "relu", "conv_0")
    return [
        Published(
            "figure1", *where, f"{m} of {taken}", None, float(complexity(m, taken, 25)), error
        )
        for (m, taken, error) in FIGURE1
    ]


# Complexities at which its claims about Figure 2 are looked at, beside its points.
CAPS = (0.05, 0.1, 0.3, 1.0)

# Read off the curves, within .005: complexity and error, from the longest rules to the shortest.
FIGURE2 = {
    ("PaperMNIST", "relu"): {
        "conv_0": ".67,.066 .46,.072 .28,.098 .15,.15 .085,.19 0,.32",
        "conv_1": ".46,.072 .28,.08 .2,.095 .05,.16 0,.30",
        "dense_0": ".58,.139 .4,.148 .28,.163 .13,.215 .05,.27 0,.38",
        "softmax": ".635,.004 .063,.013 .025,.022 .013,.03 0,.088",
    },
    ("PaperMNIST", "tanh"): {
        "conv_0": ".53,.056 .3,.066 .17,.082 .1,.108 .02,.165 0,.20",
        "conv_1": ".31,.063 .17,.066 .055,.08 .01,.105 0,.20",
        "dense_0": ".525,.142 .26,.152 .155,.166 .085,.19 .05,.217 0,.375",
        "softmax": ".645,.004 .087,.013 .03,.025 .02,.03 0,.10",
    },
    ("PaperAutoencoder", "relu"): {
        "conv_0": ".37,.041 .14,.047 .07,.068 .013,.11 0,.137",
        "conv_1": ".48,.043 .23,.047 .14,.062 .055,.09 0,.22",
        "dense_0": ".325,.146 .125,.154 .065,.163 .03,.183 0,.305",
        "softmax": ".555,.082 .06,.09 0,.10",
    },
}


def _figure2() -> list[Published]:
    rows = []
    for (network, activation), layers in FIGURE2.items():
        for layer, points in layers.items():
            where = ("figure2", "mnist", network, activation, layer)
            for i, point in enumerate(points.split()):
                length, error = map(float, point.split(","))
                rows.append(Published(*where, f"point {i + 1}", None, length, error))
            rows += [Published(*where, f"at most {cap:g}", None, cap, None) for cap in CAPS]
    return rows


def _table2() -> list[Published]:
    return [
        Published("table2", dataset, network, "relu", "softmax", "M-of-N", beta, length, error)
        for dataset, network, beta, length, error in [
            ("olivetti", "PaperFaces", 0.0, 0.03, 0.0),
            ("olivetti", "PaperFaces", 0.1, 0.024, 0.001),
            ("mnist", "PaperMNIST", 0.0, 0.7, 0.004),
            ("mnist", "PaperMNIST", 0.1, 0.06, 0.013),
            ("fashion_mnist", "PaperFashion", 0.0, 0.28, 0.007),
            ("fashion_mnist", "PaperFashion", 0.1, 0.06, 0.012),
        ]
    ]


ROWS: tuple[Published, ...] = (*_table1(), *_figure1(), *_figure2(), *_table2())

# Section 5: of 1,000 adversarial examples, how many the softmax rules of maximal complexity answer.
ADVERSARIAL_RIGHT = 0.376
