"""What experiments keep: nothing done twice, no results mixed, means over seeds."""

import math
import subprocess
import sys
import threading
import time
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from absl import flags
from processes import ROOT

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
    show = partial(kept.percent, value="error")
    assert kept.pivot(means, ["name"], "size", show).splitlines() == [
        "| name | 1 | 2 |",
        "| --- | ---: | ---: |",
        "| a | 30.00 ± 14.14 |  |",
        "| b | 50.00 | 25.00 |",
    ]


def test_one_run_at_a_time_in_a_folder(tmp_path):
    with kept.alone_in(tmp_path / "run"):
        with (
            pytest.raises(flags.Error, match="workdir: another run is at work in"),
            kept.alone_in(tmp_path / "run"),
        ):
            pass
        with kept.alone_in(tmp_path / "other"):
            pass
    with kept.alone_in(tmp_path / "run"):
        pass
    assert not any((tmp_path / "run").iterdir())  # nothing is left to hold it


def test_a_run_that_waits_comes_next(tmp_path):
    done = []

    def second():
        with kept.alone_in(tmp_path, wait=True):
            done.append("second")

    thread = threading.Thread(target=second)
    with kept.alone_in(tmp_path):
        thread.start()
        time.sleep(0.2)
        done.append("first")
    thread.join(10)
    assert done == ["first", "second"]


def test_a_dead_run_holds_nothing(tmp_path):
    program = f"import time\nfrom pathlib import Path\nfrom experiments import kept\n\
with kept.alone_in(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(flags.Error, match="another run"), kept.alone_in(tmp_path):
            pass
        process.kill()
        process.wait(10)
    with kept.alone_in(tmp_path):
        pass


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json cannot be read \(.*made anew"):
        kept.open_folder(tmp_path, options())
    assert (tmp_path / "config.json").read_text() == "{"


def test_files_of_others_are_not_replaced(tmp_path):
    for name in ("rules.txt", "landscape.csv", "params", "cases"):
        folder = tmp_path / f"with {name}"
        folder.mkdir()
        (folder / name).write_text("keep me")
        (folder / "other.txt").write_text("it may stay")
        with pytest.raises(flags.Error, match=rf"no results of this script \({name}\)"):
            kept.open_folder(folder, options())
        (folder / name).unlink()
        kept.open_folder(folder, options())


def test_not_inside_of_the_trained_networks(tmp_path):
    for folder in (tmp_path, tmp_path / "wine"):
        with pytest.raises(flags.Error, match="is inside of --trained"):
            kept.open_folder(folder, options(trained=str(tmp_path)))
    kept.open_folder(tmp_path / "run", options(trained=str(tmp_path / "trained")))


@pytest.mark.parametrize("text", ["[]", "null", "5", '"x"', "{"])
def test_json_of_another_kind(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json cannot be read"):
        kept.open_folder(tmp_path, options())
    (tmp_path / "rows.json").write_text('[{"name": "a"}]' if text == "[]" else text)
    with pytest.raises(ValueError, match=r"rows.json (cannot be read|holds no rows)"):
        kept.kept_rows(tmp_path / "rows.json", Row, list)


def test_devices_make_no_difference(tmp_path):
    kept.open_folder(tmp_path, options(mesh="units:1", memory_budget="1"))
    kept.open_folder(tmp_path, options(mesh="units:2", memory_budget="2"))
