"""What differs between versions of JAX is the same under `compat`'s names."""

import jax.numpy as jnp

from mofn_jax.compat import config, enable_x64


def test_64_bits_hold_inside_and_can_be_asked_for():
    for wide, dtype in ((True, jnp.float64), (False, jnp.float32)):
        with enable_x64(wide):
            assert config.jax_enable_x64 is wide
            assert jnp.zeros(1).dtype == dtype
