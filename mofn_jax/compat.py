"""What differs between the supported versions of JAX, from 0.7.2 on, or that type checkers miss."""

from typing import Any

import jax
import jax.experimental

config: Any = jax.config  # the attributes that its flags are appear at run time

_experimental: Any = jax.experimental  # where it was before JAX 0.8
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else _experimental.enable_x64
