"""Command lines: what is wrong ends a script with one line, at once, and leaves nothing behind."""

import importlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from processes import ROOT

import mofn_jax as mofn
from experiments import command_line


def run_script(name, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        timeout=150,
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (flags.Error("size: 3"), "size: 3 (--help shows the flags)"),
        (ValueError("name: unknown"), "name: unknown"),
        (
            OSError(28, "No space left on device", "a/b"),
            "[Errno 28] No space left on device: 'a/b'",
        ),
        (ImportError("install it"), "install it"),
        (KeyboardInterrupt(), "interrupted"),
        (ValueError(), "ValueError"),
    ],
)
def test_what_is_wrong_is_one_line(error, line):
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as caught:
        command_line.run(main)
    assert caught.value.code == line


def test_a_bug_is_not_hidden():
    def main(argv):
        raise TypeError("a bug")

    with pytest.raises(TypeError):
        command_line.run(main)


@pytest.mark.parametrize(
    ("script", "arguments", "line"),
    [
        ("extract", ["--layers=dense_9"], "layers: 'dense_9' is not known"),
        ("extract", ["--params=/nowhere"], "path: no parameters in /nowhere"),
        ("landscape", ["--dataset=wine", "--networks=CNN"], "networks: CNN needs images, wine has"),
        (
            "extract_arrays",
            ["--weights=w", "--inputs=x.npy", "--outputs=o"],
            "inputs: no file x.npy",
        ),
    ],
)
def test_no_traceback_and_nothing_left(tmp_path, script, arguments, line):
    ended = run_script(script, *arguments, f"--workdir={tmp_path / 'run'}")
    assert ended.returncode == 1
    assert ended.stdout == b""
    (printed,) = ended.stderr.decode().splitlines()
    assert printed.startswith(line)
    assert not any(tmp_path.iterdir())


def test_files_are_in_utf_8_whatever_the_locale(tmp_path):
    rng = np.random.default_rng(0)
    weights, inputs = rng.standard_normal((3, 2)), rng.standard_normal((30, 3))
    for name, array in {"w": weights, "x": inputs, "o": inputs @ weights}.items():
        np.save(tmp_path / f"{name}.npy", array)
    names = {"weights": "w", "inputs": "x", "outputs": "o"}
    arguments = [f"--{flag}={tmp_path / name}.npy" for flag, name in names.items()]
    arguments += ["--name=Größe ≥ 1", f"--workdir={tmp_path / 'run'}", "--search=weight_order"]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = run_script("extract_arrays", *arguments, **locale)
    assert ended.returncode == 0, ended.stderr
    for name in ("rules.txt", "layers.csv"):
        assert "Größe ≥ 1" in (tmp_path / "run" / name).read_text(encoding="utf-8")
    text = (tmp_path / "run/rules.json").read_text(encoding="utf-8")
    assert {rule.layer for rule in mofn.rules_from_json(text)} == {"Größe ≥ 1"}


def parsed(define, *arguments):
    return command_line.parse(define, ["script", *arguments], None)


def test_a_folder_that_cannot_be(tmp_path, monkeypatch):
    def define(values):
        command_line.define_folder(values, "workdir", None, "")
        command_line.define_folder(values, "cache", None, "", is_written=False)

    (tmp_path / "file").write_text("")
    for flag in ("workdir", "cache"):
        for place in ("file", "file/below"):
            with pytest.raises(flags.Error, match=f"flag --{flag}=.*file is not a folder"):
                parsed(define, f"--{flag}={tmp_path / place}")
    assert parsed(define, f"--workdir={tmp_path}/new/one").cache is None
    for place in ("", "~nobody_at_all/run"):
        with pytest.raises(flags.Error, match=r"flag --workdir=.*expected a path"):
            parsed(define, f"--workdir={place}")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert parsed(define, f"--cache={tmp_path}").workdir is None
    with pytest.raises(flags.Error, match=r"flag --workdir=.* cannot be written to"):
        parsed(define, f"--workdir={tmp_path}/new")


@pytest.mark.parametrize("seed", ["-1", "4294967296", "x", "0.5", ""])
def test_a_seed_that_is_none(seed):
    with pytest.raises(flags.Error, match="seed"):
        parsed(lambda values: command_line.define_seed(values, ""), f"--seed={seed}")


def test_seeds(tmp_path):
    def define(values):
        command_line.define_list(values, "seeds", [0], "")

    assert command_line.seeds(parsed(define, "--seeds=2,0,2")) == [2, 0]
    for seed in ("-1", "0.5", "4294967296"):
        with pytest.raises(flags.Error, match=f"seeds: '{seed}' is not an integer of at least 0"):
            command_line.seeds(parsed(define, f"--seeds=0,{seed}"))


def test_neither_betas_nor_lengths():
    def define(values):
        command_line.define_list(values, "betas", [0.1], "")
        command_line.define_list(values, "lengths", [3], "")

    found = command_line.choices(parsed(define, "--betas="))
    assert found == {"betas": [], "lengths": [3]}
    with pytest.raises(flags.Error, match="betas: expected at least one number, or lengths"):
        command_line.choices(parsed(define, "--betas=", "--lengths="))


@pytest.mark.parametrize(
    "name",
    sorted(
        path.stem
        for path in (ROOT / "experiments").glob("*.py")
        if "command_line.run(main)" in path.read_text() and path.stem != "command_line"
    ),
)
def test_help_says_of_each_flag_what_it_is_in_a_sentence(name):
    values = flags.FlagValues()
    importlib.import_module(f"experiments.{name}").define_flags(values)
    for flag in values:
        words = re.sub("<.*?>: |;.*", "", values[flag].help).rstrip(".").split()
        assert values[flag].help.endswith("."), flag
        assert words[0][0].isupper(), flag
        assert len(words) >= 5, flag
