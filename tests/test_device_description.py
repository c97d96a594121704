"""What is said of the devices that JAX found, and of those that it did not."""

from types import SimpleNamespace

import jax
import pytest

import mofn_jax as mofn
from mofn_jax import devices


@pytest.fixture
def accelerators(tmp_path, monkeypatch):
    """Makes a machine that has none, and gives what plugs one in."""
    platforms = {
        platform: (extra, [str(tmp_path / platform / "[0-9]*")])
        for platform, (extra, _) in devices._ACCELERATORS.items()
    }
    monkeypatch.setattr(devices, "_ACCELERATORS", platforms)
    jax.devices()  # JAX reads which platforms it may use before it is told others
    monkeypatch.setattr(type(jax.config), "jax_platforms", None)
    return lambda platform: (tmp_path / platform / "0").mkdir(parents=True)


def test_devices_are_described(accelerators):
    kind = jax.devices()[0].device_kind
    found = f"JAX {jax.__version__} found {jax.device_count()} x cpu ({kind})"
    assert mofn.describe_devices() == found


@pytest.mark.parametrize(
    ("platform", "told", "remedy"),
    [
        ("gpu", None, 'pip install "jax[cuda12]=={}"'),
        ("tpu", None, 'pip install "jax[tpu]=={}"'),
        ("gpu", "cuda,cpu", 'pip install "jax[cuda12]=={}"'),
        ("tpu", "tpu,cpu", 'pip install "jax[tpu]=={}"'),
        ("gpu", "cpu", "unset JAX_PLATFORMS"),
        ("tpu", "cpu", "unset JAX_PLATFORMS"),
    ],
)
def test_an_accelerator_that_jax_does_not_use(platform, told, remedy, accelerators, monkeypatch):
    accelerators(platform)
    monkeypatch.setattr(type(jax.config), "jax_platforms", told)
    _, line = mofn.describe_devices().split("\n")
    remedy = remedy.format(jax.__version__)
    assert line == (
        f"this machine has a {platform.upper()} that JAX does not use: {remedy}, restart Python"
    )


def test_an_accelerator_that_jax_uses_and_one_that_fails(accelerators, monkeypatch):
    accelerators("tpu")
    chip = SimpleNamespace(platform="tpu", device_kind="TPU v5 lite")
    monkeypatch.setattr(jax, "devices", lambda: [chip, chip])
    assert mofn.describe_devices() == f"JAX {jax.__version__} found 2 x tpu (TPU v5 lite)"

    def fail():
        raise RuntimeError("Unable to initialize backend 'tpu'")

    monkeypatch.setattr(jax, "devices", fail)
    found, line = mofn.describe_devices().split("\n")
    assert found.endswith("found no device: Unable to initialize backend 'tpu'")
    assert "this machine has a TPU that JAX does not use: pip install" in line
