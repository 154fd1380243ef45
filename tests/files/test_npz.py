"""Files of arrays: what was written comes back, and of what others wrote nothing is believed."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from minifer.errors import CheckpointError, DataError, MiniferError
from minifer.files import npz
from minifer.files.npz import Npz, write_arrays, write_npz

ARRAYS = {
    "weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "transposed": np.arange(6, dtype=np.int16).reshape(2, 3).T,
    "big_endian": np.arange(3, dtype=">f8"),
    "nothing": np.zeros((0, 3)),
    "number": np.array(7),
    "names": np.array(["a", "glücklich"]),
    "no_names": np.array(["", ""]),
    "mask": np.array([True, False]),
}


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def path(request, tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        write_npz(file, ARRAYS, request.param)
    return tmp_path / "a.npz"


def refusal(path, wanted=None, **options):
    """Read, and return the line that comes instead of arrays."""
    with pytest.raises(CheckpointError) as caught, Npz(path, CheckpointError, "the remedy") as file:
        file.arrays(wanted, **options) if wanted else file.all()
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    return str(caught.value)


def test_what_goes_in_comes_out(path):
    with Npz(path) as file:
        found = file.all()
    assert list(found) == list(ARRAYS)
    for name, array in found.items():
        np.testing.assert_array_equal(array, ARRAYS[name], strict=name not in ("no_names", "big_endian"))
        assert array.dtype.isnative and array.flags.writeable
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["transposed"], ARRAYS["transposed"])


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    for name in "ab":
        write_arrays(tmp_path / name, ARRAYS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(MiniferError, match="cannot write"):
        write_arrays(tmp_path / "nowhere" / "a", ARRAYS)


def test_what_is_wanted(path):
    with Npz(path) as file:
        found = file.arrays({"weight": "f 2 A B", "transposed": "iu A 2", "names": "U N", "number": "i8"}, largest=23)
    assert list(found) == ["weight", "transposed", "names", "number"]
    for wanted, message in (
        ({"bias": "f"}, "it has no array bias: the remedy"),
        ({"weight": "iu A B C"}, "weight holds float32 instead of iu"),
        ({"weight": "f8 A B C"}, "weight holds float32 instead of f8"),
        ({"weight": "f A B"}, "weight has shape (2, 3, 4) instead of (A, B)"),
        ({"weight": "f A A B"}, "weight has shape (2, 3, 4) instead of (A, A, B)"),
        ({"weight": "f N 3 4", "transposed": "i N 2"}, "transposed has shape (3, 2) instead of (2, 2)"),
        ({"number": "i N"}, "number has shape () instead of (N)"),
    ):
        assert message in refusal(path, wanted)
    assert "weight holds numbers beyond 22" in refusal(path, {"weight": "f A B C"}, largest=22)


# What others may have written.


def write_members(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def member(shape="(3,)", descr="'<f8'", content=bytes(24), magic=b"\x93NUMPY\x01\x00"):
    """Return the bytes of an .npy file whose header says anything."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return magic + len(text).to_bytes(2, "little") + text + content


@pytest.fixture
def peak():
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_floats_that_no_kernel_computes_with(tmp_path):
    floats = {"half": np.float16([1.5]), "long": np.longdouble([2.5]), "single": np.float32([3.5])}
    write_arrays(tmp_path / "a.npz", floats)
    with Npz(tmp_path / "a.npz") as file:
        found = file.arrays({"half": "f N", "long": "f N", "single": "f N"})
    assert [(array.dtype, array[0]) for array in found.values()] == [
        (np.float32, 1.5), (np.float64, 2.5), (np.float32, 3.5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (member("(549755813888,)"), "says that it has shape (549755813888,) of float64, which is not what is there"),
        (member(f"({10**30},)"), "which is not what is there"),
        (member(f"({10**30}, 0)", content=b""), "cannot be read"),
        (member("(-3,)"), "which is not what is there"),
        (member("(2,)"), "which is not what is there"),
        (member("(3.0,)"), "cannot be read"),
        (member("(3,"), "cannot be read"),
        (member("(" * 3000 + ")" * 3000), "cannot be read"),
        (member("()", "'|O'"), "holds Python objects"),
        (member("(3,)", "[('a', '<f8')]"), "holds records"),
        (member("(3,)", "'|S8'"), "holds bytes, of which .astype(str) makes texts, no plain numbers or texts"),
        (member("(3,)", "'<c8'"), "holds complex numbers"),
        (member("(3,)", "'<M8[s]'"), "holds datetime64[s]"),
        (member("(1,)", "('<f8', (3,))"), "records"),
        (member("(3,)", "'<M8[s]'"), "no plain numbers"),
        (member("(1,)", "'<U1'", b"\xff\xff\xff\x00"), "characters that do not exist"),
        (member("(1,)", "'<f8'", np.array([np.nan]).tobytes()), "holds NaN or infinity"),
        (member(magic=b"\x93NUMPY\x03\x00"), "cannot be read"),
        (member(magic=b"no magic"), "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_member_that_lies(tmp_path, peak, content, message):
    path = write_members(tmp_path / "a.npz", [("a.npy", content)])
    assert message in refusal(path)
    assert peak() < 3 << 20


def test_other_members(tmp_path):
    assert "x.pkl in it is no array" in refusal(write_members(tmp_path / "a.npz", [("x.pkl", b"cos\nsystem\n.")]))
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_members(tmp_path / "b.npz", [("a.npy", member()), ("a.npy", member("(0,)", content=b""))])
    assert "it holds two arrays called a" in refusal(tmp_path / "b.npz")


def test_few_bytes_that_stand_for_many(tmp_path, peak, monkeypatch):
    path = write_members(tmp_path / "a.npz", [("a.npy", member(f"({12 << 20},)", content=bytes(96 << 20)))], 8)
    assert "say that they hold 100663" in refusal(path)
    monkeypatch.setattr(npz, "MOST_ARRAYS", 2)
    path = write_members(tmp_path / "b.npz", [(f"{number}.npy", b"") for number in range(3)])
    assert "it says that it holds 3 arrays" in refusal(path)
    with pytest.raises(DataError, match="more than such a file can"):
        Npz(write_members(tmp_path / "c.npz", [("a.npy", member())]), most_bytes=50)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_wrong_byte_is_noticed_or_harmless(tmp_path, method):
    stream = io.BytesIO()
    write_npz(stream, {"a": np.arange(5.0), "b": np.array(["x", "y"])}, method)
    whole, path = stream.getvalue(), tmp_path / "a.npz"
    for place in range(len(whole)):
        for change in (1, 255):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            try:
                with Npz(path, CheckpointError) as file:
                    found = file.all()
            except CheckpointError as error:
                assert "\n" not in str(error)
            else:
                for name, array in found.items():  # the table of contents has no checksum: names can change
                    np.testing.assert_array_equal(array, np.arange(5.0) if array.dtype == float else ["x", "y"], name)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            Npz(path, CheckpointError)


def test_what_is_no_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "a.npz")
    assert "not a file" in refusal(tmp_path)
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04.")
    assert "no .npz file of plain arrays (minifer never unpickles)" in refusal(tmp_path / "a.pkl")
