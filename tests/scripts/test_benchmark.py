"""The benchmark through its own main, on small sizes: it checks its own results."""

import json

import pytest
from absl import flags

from experiments import benchmark


def test_small_sizes(tmp_path, capsys):
    benchmark.main(
        ["benchmark", "--small", "--sizes=S,M,L", "--activations=relu", f"--workdir={tmp_path}"]
    )
    report = json.loads((tmp_path / "benchmark.json").read_text())
    assert report["machine"]["device"]
    assert [(row["size"], row["activation"], row["stage"]) for row in report["rows"]] == [
        (size, "relu", stage)
        for size in ("S", "M", "L")
        for stage in ("thresholds", "scoring", "extraction", "default")
    ]
    for row in report["rows"]:
        assert min(row["warm_s"], row["first_s"]) > 0
        assert row["ns"] > 0
        compared = {"thresholds": ["numpy_ns", "sklearn_ns"], "scoring": ["numpy_ns"]}
        assert all(row[name] > 0 for name in compared.get(row["stage"], ["process_peak_mb"]))
    table = (tmp_path / "benchmark.txt").read_text()
    assert len(table.splitlines()) == 1 + len(report["rows"])
    assert table in capsys.readouterr().out
    with pytest.raises(flags.Error, match="holds results of other flags"):
        benchmark.main(["benchmark", "--small", "--sizes=S", f"--workdir={tmp_path}"])


def test_on_a_tpu_what_its_compiler_estimated_stands_beside(monkeypatch):
    monkeypatch.setattr(benchmark, "SIZES", benchmark.SMALL_SIZES)
    monkeypatch.setattr(benchmark.jax, "default_backend", lambda: "tpu")
    rows = benchmark.measure("S")
    estimates = {row["stage"]: row["tpu_estimate_s"] for row in rows}
    assert 0 < estimates["thresholds"] < estimates["extraction"] <= estimates["default"]
    parts = estimates["thresholds"] + estimates["scoring"]
    # The rest holds the inputs, and says where literals hold.
    assert 0.9 * estimates["extraction"] < parts < estimates["extraction"]
    header, first, *_ = benchmark.format_rows(rows).splitlines()
    assert header.split()[header.split().index("estimated") + 1] == "s"
    assert f"{estimates['thresholds']:.4g}" in first.split()


def test_of_a_part_of_a_layer_nothing_is_estimated():
    report = "size,run,kernel,seconds\nL,weight order,a,2\nL,weight order,host,9\nS,default,a,5\n"
    assert benchmark.tpu_estimates("L", report) == {"extraction": 2}


def test_unknown_size(tmp_path):
    with pytest.raises(ValueError, match="sizes: 'XL' is not known"):
        benchmark.main(["benchmark", "--sizes=XL", f"--workdir={tmp_path}"])


@pytest.mark.parametrize("flag", ["sizes=", "activations=", "activations=gelu", "seed=-1"])
def test_flags_that_leave_nothing_to_do(tmp_path, flag):
    with pytest.raises(flags.Error, match=f"flag --{flag.split('=')[0]}"):
        benchmark.main(["benchmark", f"--{flag}", f"--workdir={tmp_path / 'run'}"])
    assert not any(tmp_path.iterdir())
