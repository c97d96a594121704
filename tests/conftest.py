"""Settings of every test: silent rank promotion and reused random keys are errors."""

import gc
import os
import tempfile
from pathlib import Path

import jax
import matplotlib
import pytest

matplotlib.use("Agg")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # what scripts compile is not left behind
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

_MAPS, _MOST_MAPS = Path("/proc/self/maps"), 20_000


@pytest.fixture(autouse=True, scope="module")
def let_go_of_what_is_compiled():
    """Linux gives a process 65,530 maps of memory; thousands of compiled programs take them all,
    and the next one crashes it."""
    yield
    if _MAPS.exists() and _MAPS.read_text().count("\n") > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()
