"""What differs between the supported versions of JAX, from 0.7.2 on; each under its newest name."""

import jax

__all__ = ["enable_x64"]

if hasattr(jax, "enable_x64"):
    enable_x64 = jax.enable_x64
else:  # before JAX 0.8
    from jax.experimental import enable_x64
