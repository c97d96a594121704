"""experiments/devices.py by itself; its flags are tested with the scripts that have them."""

import mofn_jax as mofn
from experiments import devices


def test_it_says_which_devices_jax_found(capsys):
    devices.main(["devices"])
    assert capsys.readouterr().out == mofn.describe_devices() + "\n"
