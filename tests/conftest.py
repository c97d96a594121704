"""Settings of every test: silent rank promotion and reused random keys are errors."""

import os
import tempfile

import jax
import matplotlib

matplotlib.use("Agg")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # what scripts compile is not left behind
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
