"""What users install: the wheel, its public names and their types."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import user_module

import mofn_jax as mofn

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the repository without what lies about in it."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in ("mofn_jax", "experiments", "tests", "notebooks"):
        shutil.copytree(ROOT / path, folder / "repository" / path)
    for path in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / path, folder / "repository")
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run(
        [sys.executable, "-c", build], cwd=folder / "repository", check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    assert wheel.name == f"mofn_jax-{mofn.__version__}-py3-none-any.whl"
    files = zipfile.ZipFile(wheel).namelist()
    metadata = f"mofn_jax-{mofn.__version__}.dist-info"
    assert {name.split("/")[0] for name in files} == {"mofn_jax", metadata}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "mofn_jax").rglob("*.py")}
    assert {name for name in files if name.startswith("mofn_jax/")} == {
        *modules,
        "mofn_jax/py.typed",
        *(f"mofn_jax/uci/{name}" for name in ("README.md", "ecoli.csv", "promoters.csv")),
        *(f"mofn_jax/templates/report.{end}" for end in ("html", "css", "js")),
    }


def test_a_wheel_reads_its_tables(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    command = (
        "import mofn_jax; print(mofn_jax.__file__, "
        "*(mofn_jax.load_dataset(name).train.inputs.shape for name in ('ecoli', 'promoters')))"
    )
    # From the folder it works in, before any installed one.
    ran = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert ran.stdout.split(maxsplit=1)[0] == str(tmp_path / "mofn_jax" / "__init__.py")
    assert "(268, 7) (84, 228)" in ran.stdout


def test_the_version_is_said_in_one_way():
    assert f"\nversion: {mofn.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {mofn.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_a_users_module_calls_every_public_name(tmp_path, capsys):
    tree = ast.parse(Path(user_module.__file__).read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "mofn"
    }
    assert used == {*mofn.__all__, "__version__"}
    user_module.main(tmp_path)
    plt.close("all")
    assert "unit 0 <=> 3 of {a >= 1, b >= 1, c >= 1, d >= 1, e >= 1}" in capsys.readouterr().out


def test_its_types_are_checked_strictly(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import mofn_jax as mofn\n\nmofn.make_mesh(3)\n")
    files = Path(user_module.__file__), wrong
    # Not in the repository, where its own settings would be found.
    command = [sys.executable, "-m", "mypy", "--strict", *map(str, files)]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 1, checked.stdout
    assert errors[0].startswith('wrong.py:3: error: Argument 1 to "make_mesh" has incompatible')
