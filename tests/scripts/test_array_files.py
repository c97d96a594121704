"""Arrays from files: of every kind the right ones, and of a wrong one a line that names it."""

import zipfile

import numpy as np
import pytest

from experiments.array_files import load_array

TABLE = np.array([[1, 2.5], [-3, 4e-3], [0, 7]])


def load(path, text=None, **options):
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_array("inputs", str(path), **options)


ROWS = "1,2.5\n-3,4e-3\n0,7\n"


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        f"a,b\n{ROWS}",
        f"\ufeff{ROWS}",
        f"\ufeffa,b\n{ROWS}",
        f"# a,b\n{ROWS}",
        '"a","b"\n"1","2.5"\n"-3","4e-3"\n0,7\n',
        '"1","2.5"\n-3,4e-3\n0,7\n',
        ROWS.replace("\n", "\r\n"),
        f"größe,b\n{ROWS}",
    ],
)
def test_tables_of_every_style(tmp_path, text):
    np.testing.assert_array_equal(load(tmp_path / "x.csv", text), TABLE)


def test_one_example_is_a_row(tmp_path):
    assert load(tmp_path / "x.csv", "1,2,3\n").tolist() == [[1, 2, 3]]
    assert load(tmp_path / "y.csv", "a,b\n1,2\n").tolist() == [[1, 2]]


def test_arrays_of_numpy(tmp_path):
    np.save(tmp_path / "x.npy", TABLE)
    np.savez(tmp_path / "one.npz", TABLE)
    np.savez(tmp_path / "two.npz", a=TABLE, b=TABLE.T)
    for name in ("x.npy", "one.npz", "two.npz:a"):
        np.testing.assert_array_equal(load(tmp_path / name), TABLE)
    np.testing.assert_array_equal(load(tmp_path / "two.npz:b", shape=[2, 3]), TABLE.T)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1;2\n3;4\n", "is parted by semicolons; expected commas"),
        ("a;b\n1;2\n", "is parted by semicolons; expected commas"),
        ("1\t2\n3\t4\n", "is parted by tabs; expected commas"),
        (",class\n0,1\n1,0\n", "is not a table of numbers"),  # with an index before the classes
        ("NA,NA\n1,2\n", "is not a table of numbers"),
        ("1,2\n3,x\n", "is not a table of numbers"),
        ("1,2\n3\n", "is not a table of numbers"),
        ("1,\n2,3\n", "is not a table of numbers"),
        ("a,b\n", "(is not a table of numbers|has no elements|cannot be read)"),
        ("", "(is not a table of numbers|has no elements|cannot be read)"),
        ("gr\xf6\xdfe,b\n1,2\n".encode("latin-1"), "cannot be read .*utf-8"),
        (b"\x00\x01\x02", "(is not a table of numbers|has no elements)"),
        ("1,nan\n2,3\n", "holds NaN or infinity"),
    ],
)
def test_tables_that_are_none(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "x.csv", text)
    assert str(caught.value).startswith("inputs: ")
    assert str(tmp_path / "x.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


class Evil:
    """What runs something when it is loaded."""

    def __reduce__(self):
        return exec, ("raise SystemExit('it was run')",)


def damaged(folder):
    objects = np.array([Evil()], dtype=object)
    np.save(folder / "objects.npy", objects, allow_pickle=True)
    np.savez(folder / "objects.npz", a=objects)
    np.save(folder / "whole.npy", TABLE)
    np.savez(folder / "whole.npz", a=np.arange(1000.0))
    (folder / "empty.npy").write_bytes(b"")
    (folder / "empty.npz").write_bytes(b"")
    for kind in ("npy", "npz"):
        whole = (folder / f"whole.{kind}").read_bytes()
        (folder / f"short.{kind}").write_bytes(whole[: len(whole) - 30])
        (folder / f"shorter.{kind}").write_bytes(whole[:40])
        (folder / f"noise.{kind}").write_bytes(b"noise" * 30)
    (folder / "really_npz.npy").write_bytes((folder / "whole.npz").read_bytes())
    (folder / "really_npy.npz").write_bytes((folder / "whole.npy").read_bytes())
    with zipfile.ZipFile(folder / "nothing.npz", "w"):
        pass
    np.save(folder / "records.npy", np.zeros(3, [("a", "f4")]))
    np.save(folder / "texts.npy", np.array(["a"]))
    np.save(folder / "complex.npy", np.zeros(3, complex))
    np.save(folder / "none.npy", np.zeros((0, 3)))
    (folder / "folder.npy").mkdir()
    return sorted(
        path.name for path in folder.iterdir() if path.name not in ("whole.npy", "whole.npz")
    )


def test_damaged_files_and_objects(tmp_path):
    names = damaged(tmp_path)
    assert len(names) == 18
    for name in names:
        with pytest.raises(ValueError, match="inputs") as caught:
            load(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_names_in_files(tmp_path):
    np.savez(tmp_path / "two.npz", a=TABLE, b=TABLE.T)
    np.save(tmp_path / "x.npy", TABLE)
    with pytest.raises(ValueError, match=r"inputs: .*two.npz holds \['a', 'b'\]; say which as"):
        load(tmp_path / "two.npz")
    with pytest.raises(ValueError, match=r"inputs \(array in .*\): 'c' is not known; expected one"):
        load(tmp_path / "two.npz:c")
    with pytest.raises(ValueError, match=r"inputs \(ending of .*x\.npy:a\): .* is not known"):
        load(tmp_path / "x.npy:a")
    np.save(tmp_path / "x:1.npy", TABLE)
    np.savez(tmp_path / "x:1.npz", a=TABLE, b=TABLE.T)
    np.testing.assert_array_equal(load(tmp_path / "x:1.npy"), TABLE)
    np.testing.assert_array_equal(load(tmp_path / "x:1.npz:b"), TABLE.T)
    with pytest.raises(
        ValueError, match=r"inputs: expected shape \[5, any\], got \[3, 2\] \(.*x.npy"
    ):
        load(tmp_path / "x.npy", shape=[5, None])
