"""What experiments keep: nothing done twice, no results mixed, means over seeds."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from absl import flags

from experiments import kept


class Row(NamedTuple):
    name: str
    seed: int
    size: int
    error: float


ROWS = [
    Row("a", 0, 1, 0.1),
    Row("a", 0, 1, 0.3),
    Row("a", 1, 1, 0.4),
    Row("b", 0, 1, 0.5),
    Row("b", 1, 1, math.nan),
    Row("b", 0, 2, 0.25),
]


def options(**values):
    flag_values = flags.FlagValues()
    for name, value in {"betas": "0,1", "seeds": "0", "workdir": "here", **values}.items():
        flags.DEFINE_string(name, value, "", flag_values=flag_values)
    flag_values(["script"])
    return flag_values


def test_a_folder_takes_no_results_of_other_flags(tmp_path):
    kept.open_folder(tmp_path, options(), may_differ=["seeds"])
    kept.open_folder(tmp_path, options(seeds="0,1", workdir="there"), may_differ=["seeds"])
    with pytest.raises(flags.Error, match=r"holds results of other flags \(betas\)"):
        kept.open_folder(tmp_path, options(betas="0"), may_differ=["seeds"])


def test_rows_are_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return ROWS[:3]

    path = tmp_path / "case" / "rows.json"
    for _ in range(2):
        assert kept.kept_rows(path, Row, make) == ROWS[:3]
    assert made == [1]


def test_rows_that_fail_half_way_are_not_kept(tmp_path):
    def make():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.kept_rows(tmp_path / "rows.json", Row, make)
    assert list(tmp_path.iterdir()) == []


def test_means_over_seeds():
    first, second, third = kept.over_seeds(ROWS, ["name", "size"], ["error"])
    assert first[:3] == ("a", 1, 2)
    # The first seed's mean is 0.2, the other's 0.4.
    np.testing.assert_allclose(first[3:], [0.3, np.std([0.2, 0.4], ddof=1)])
    assert second[:4] == ("b", 1, 2, 0.5)  # NaN is left out
    assert math.isnan(second.error_sd)
    assert third[:4] == ("b", 2, 1, 0.25)


def test_pivot_shows_percents():
    means = kept.over_seeds(ROWS, ["name", "size"], ["error"])
    assert kept.pivot(means, ["name"], "size", "error").splitlines() == [
        "| name | 1 | 2 |",
        "| --- | ---: | ---: |",
        "| a | 30.00 ± 14.14 |  |",
        "| b | 50.00 | 25.00 |",
    ]
