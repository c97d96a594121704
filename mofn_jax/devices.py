"""Which devices JAX found on this machine, and which it could use but does not."""

from glob import glob

import jax

from mofn_jax.compat import config

# By platform: the extra of JAX that brings it, and files of which a machine that has it has one.
_ACCELERATORS = {
    "gpu": ("cuda12", ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/dxg")),
    "tpu": ("tpu", ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")),
}


def describe_devices() -> str:
    """Which devices JAX found and, of an accelerator that it does not use, how to mend that.

    Returns:
      A line, and one more for each accelerator of this machine that JAX does not use.
    """
    version = jax.__version__
    try:
        devices = jax.devices()
        used = devices[0].platform
        lines = [f"JAX {version} found {len(devices)} x {used} ({devices[0].device_kind})"]
    except RuntimeError as error:  # a platform that JAX is told to use is not to be had
        used, lines = "", [f"JAX {version} found no device: {error}"]
    for platform, (extra, files) in _ACCELERATORS.items():
        if platform == used or not any(map(glob, files)):
            continue
        told = (config.jax_platforms or platform).replace("cuda", "gpu")
        install = f'pip install "jax[{extra}]=={version}"'
        remedy = install if platform in told else "unset JAX_PLATFORMS"
        lines.append(
            f"this machine has a {platform.upper()} that JAX does not use: {remedy}, restart Python"
        )
    return "\n".join(lines)
