"""Settings of every test: silent rank promotion and reused random keys are errors."""

from pathlib import Path

import jax
import matplotlib
import pytest

matplotlib.use("Agg")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

FASHION_MNIST_ARCHIVES = Path("/usr/share/datasets/fashion-mnist")  # where Debian puts them


@pytest.fixture(scope="session")
def fashion_mnist_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir that holds Fashion-MNIST, prepared from Debian's package."""
    from experiments import prepare_tfds

    if not FASHION_MNIST_ARCHIVES.is_dir():
        pytest.fail(f"no {FASHION_MNIST_ARCHIVES}: apt-get install dataset-fashion-mnist")
    data_dir = tmp_path_factory.mktemp("tensorflow_datasets")
    prepare_tfds.main(
        [
            "prepare_tfds",
            "--dataset=fashion_mnist",
            f"--manual_dir={FASHION_MNIST_ARCHIVES}",
            f"--data_dir={data_dir}",
        ]
    )
    return data_dir
