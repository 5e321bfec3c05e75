"""The RBF kernel: matrices, diagonals and pull-backs, for every instruction set."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, layouts, tolerance
from reference import kernels as oracle

from lvmfast.kernels import RBF

# 1, 2 and 3 have loops of their own; 16 and 20 stand for "many".
COMPONENTS = [1, 2, 3, 4, 16, 20]
# Around the widths of the packs (2 to 16), the blocks of rows (4, 16), the tiles (32, 64) and the paddings (16).
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 70]
PAIRS = [(1, 1), (1, 9), (9, 1), (3, 64), (16, 65), (17, 16), (33, 70), (64, 3), (65, 31)]
PULLBACK_SIZES = [1, 2, 5, 16, 17, 33, 64, 65, 70]
VARIANCE = 1.75
THREADED = 130  # rows and columns from which the work is shared between threads


def lengthscales(q, ard):
    """Exact in float32, as is VARIANCE."""
    return np.array([0.75, 1.5, 2.0, 3.25])[np.arange(q) % 4] * (1.0 if q < 4 else 2.0) if ard else 1.25


def kernel(q, ard):
    return RBF(variance=VARIANCE, lengthscale=lengthscales(q, ard))


def points(n, q, seed):
    """Points (n, q), exact in float32."""
    return np.random.default_rng([seed, n, q]).standard_normal((n, q)).astype(np.float32).astype(float)


@functools.cache
def case(n, m, q, ard):
    """X, Z (None when m is 0) and the kernel matrix."""
    X, Z = points(n, q, 1), points(m, q, 2) if m else None
    return X, Z, oracle.rbf(X, Z, VARIANCE, lengthscales(q, ard))


@functools.cache
def pullback_case(n, m, q, ard):
    X, Z, _ = case(n, m, q, ard)
    C = np.random.default_rng(3).standard_normal((n, m or n)).astype(np.float32).astype(float)
    return X, Z, C, oracle.rbf_vjp(X, Z, C, VARIANCE, lengthscales(q, ard))


def cast(dtype, *arrays):
    return [None if a is None else a.astype(dtype) for a in arrays]


def assert_gradients(actual, expected, dtype, size):
    """(dX, dZ, {variance, lengthscale}) against the oracle's (dX, dZ, dvariance, dlengthscale)."""
    dX, dZ, gradients = actual
    assert dX.dtype == dtype
    assert_near(dX, expected[0], tolerance(dtype, size))
    assert (dZ is None) == (expected[1] is None)
    if dZ is not None:
        assert dZ.dtype == dtype
        assert_near(dZ, expected[1], tolerance(dtype, size))
    assert list(gradients) == ["variance", "lengthscale"]
    assert isinstance(gradients["variance"], float)
    assert isinstance(gradients["lengthscale"], float) == isinstance(expected[3], float)
    # Sums over all entries, which may cancel: an error counts in proportion to what is added.
    assert_near(gradients["variance"], expected[2], tolerance(dtype, size), scale=max(1, abs(expected[2])))
    assert_near(gradients["lengthscale"], expected[3], tolerance(dtype, size), scale=max(1, np.abs(expected[3]).max()))


@pytest.mark.usefixtures("instruction_set")
class TestValue:
    @pytest.mark.parametrize("ard", [False, True])
    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize("n", SIZES)
    def test_one_argument(self, dtype, n, q, ard):
        X, _, K = case(n, 0, q, ard)
        actual = kernel(q, ard)(X.astype(dtype))
        assert actual.dtype == dtype
        assert_near(actual, K, tolerance(dtype, q))
        np.testing.assert_array_equal(actual, actual.T)
        assert (np.diag(actual) == VARIANCE).all()

    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize(("n", "m"), PAIRS)
    def test_two_arguments(self, dtype, n, m, q):
        X, Z, K = case(n, m, q, True)
        actual = kernel(q, True)(*cast(dtype, X, Z))
        assert actual.dtype == dtype
        assert_near(actual, K, tolerance(dtype, q))

    @pytest.mark.parametrize("q", [2, 20])
    @pytest.mark.parametrize("m", [0, THREADED + 1])
    def test_threaded(self, dtype, q, m):
        X, Z, K = case(THREADED, m, q, False)
        assert_near(kernel(q, False)(*cast(dtype, X, Z)), K, tolerance(dtype, q))

    @pytest.mark.parametrize("q", [1, 3, 16])
    def test_far_apart(self, dtype, q):
        """Relative accuracy of every entry down to where the value becomes denormal, in the exponent's condition."""
        X = np.concatenate([np.zeros((1, q)), np.ones((60, q)) * np.linspace(0, 12 / np.sqrt(q), 60)[:, None]])
        X = X.astype(np.float32)
        actual = RBF(VARIANCE)(X.astype(dtype))[0].astype(float)
        exact = oracle.rbf(X[:1], X, VARIANCE, 1.0)[0]
        exponent = -np.log(exact / VARIANCE)
        # What centring loses: the points lie around 6 instead of starting at 0.
        assert (np.abs(actual - exact) / exact <= tolerance(dtype, q, 1.0) * (1 + 4 * exponent)).all()

    def test_same_points_twice(self, dtype):
        """k(X, X) by way of both doors."""
        X = points(40, 3, 1).astype(dtype)
        assert_near(kernel(3, True)(X, X), kernel(3, True)(X), tolerance(dtype, 3))

    @pytest.mark.parametrize("offset", [1e3, 1e6])
    @pytest.mark.parametrize("q", COMPONENTS)
    def test_offset(self, dtype, q, offset):
        """A common offset costs no digits but those that it costs the inputs: the oracle sees the rounded ones."""
        X, Z = points(33, q, 1).astype(dtype) + dtype(offset), points(17, q, 2).astype(dtype) + dtype(offset)
        k = RBF(VARIANCE, 2.0)
        K = k(X)
        assert_near(K, oracle.rbf(X, None, VARIANCE, 2.0), tolerance(dtype, q))
        np.testing.assert_array_equal(K, K.T)
        assert (np.diag(K) == VARIANCE).all()
        assert_near(k(X, Z), oracle.rbf(X, Z, VARIANCE, 2.0), tolerance(dtype, q))

    def test_float32_against_float64(self):
        X, Z = points(70, 4, 1), points(33, 4, 2)
        k = kernel(4, True)
        assert_near(k(*cast(np.float32, X, Z)), k(X, Z), tolerance(np.float32, 4))

    def test_no_points(self, dtype):
        k = kernel(2, True)
        none, some = np.empty((0, 2), dtype), np.ones((3, 2), dtype)
        for arguments, shape in [((none,), (0, 0)), ((none, some), (0, 3)), ((some, none), (3, 0))]:
            K = k(*arguments)
            assert K.shape == shape
            assert K.dtype == dtype


@pytest.mark.usefixtures("instruction_set")
class TestPullback:
    @pytest.mark.parametrize("ard", [False, True])
    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize("n", PULLBACK_SIZES)
    def test_one_argument(self, dtype, n, q, ard):
        X, _, C, expected = pullback_case(n, 0, q, ard)
        X, C = cast(dtype, X, C)
        assert_gradients(kernel(q, ard).vjp(X, None, C), expected, dtype, n * q)

    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize(("n", "m"), PAIRS)
    def test_two_arguments(self, dtype, n, m, q):
        X, Z, C, expected = pullback_case(n, m, q, True)
        X, Z, C = cast(dtype, X, Z, C)
        assert_gradients(kernel(q, True).vjp(X, Z, C), expected, dtype, max(n, m) * q)

    @pytest.mark.parametrize("q", [2, 20])
    @pytest.mark.parametrize("m", [0, THREADED + 1])
    def test_threaded(self, dtype, q, m):
        X, Z, C, expected = pullback_case(THREADED, m, q, False)
        X, Z, C = cast(dtype, X, Z, C)
        assert_gradients(kernel(q, False).vjp(X, Z, C), expected, dtype, THREADED * q)

    @pytest.mark.parametrize("q", [2, 4])
    def test_offset(self, dtype, q):
        X, Z = points(33, q, 1).astype(dtype) + dtype(1e6), points(17, q, 2).astype(dtype) + dtype(1e6)
        C = points(33, 17, 3).astype(dtype)
        expected = oracle.rbf_vjp(X, Z, C, VARIANCE, 2.0)
        assert_gradients(RBF(VARIANCE, 2.0).vjp(X, Z, C), expected, dtype, 33 * q)

    def test_same_points_twice(self, dtype):
        """Through one door, dX is the derivative through both arguments, also for a cotangent without symmetry."""
        X, C = points(20, 3, 1).astype(dtype), points(20, 20, 3).astype(dtype)
        together, _, gradients = kernel(3, True).vjp(X, None, C)
        dX, dZ, other = kernel(3, True).vjp(X, X, C)
        assert_near(together, dX + dZ, tolerance(dtype, 60))
        for name, value in gradients.items():
            assert_near(value, other[name], tolerance(dtype, 60), scale=20)

    def test_no_points(self, dtype):
        k = kernel(2, True)
        none, some = np.empty((0, 2), dtype), np.ones((3, 2), dtype)
        for X, Z, C in [(none, None, (0, 0)), (none, some, (0, 3)), (some, none, (3, 0))]:
            dX, dZ, gradients = k.vjp(X, Z, np.empty(C, dtype))
            np.testing.assert_array_equal(dX, np.zeros_like(X))
            if Z is not None:
                np.testing.assert_array_equal(dZ, np.zeros_like(Z))
            assert gradients["variance"] == 0
            np.testing.assert_array_equal(gradients["lengthscale"], [0, 0])


@pytest.mark.parametrize("same", [False, True])
def test_pullback_differences(rng, same):
    X, C = rng.standard_normal((6, 2)), rng.standard_normal((6, 6 if same else 4))
    Z, ells = None if same else rng.standard_normal((4, 2)), np.array([0.8, 1.3])

    def f(X=X, Z=Z, variance=VARIANCE, lengthscale=ells):
        return np.sum(C * RBF(float(variance), lengthscale)(X, Z))

    dX, dZ, gradients = RBF(VARIANCE, ells).vjp(X, Z, C)
    relative = tolerance(float, 12, DIFFERENCE)
    assert_near(dX, differences(lambda t: f(X=t), X), relative)
    if not same:
        assert_near(dZ, differences(lambda t: f(Z=t), Z), relative)
    assert_near(gradients["variance"], differences(lambda t: f(variance=t), VARIANCE), relative)
    assert_near(gradients["lengthscale"], differences(lambda t: f(lengthscale=t), ells), relative)


class TestArguments:
    def test_diag(self, dtype):
        X = points(7, 3, 1).astype(dtype)
        diagonal = kernel(3, True).diag(X)
        assert diagonal.dtype == dtype
        np.testing.assert_array_equal(diagonal, np.full(7, VARIANCE))
        np.testing.assert_array_equal(diagonal, np.diag(kernel(3, True)(X)))
        assert_near(diagonal, oracle.rbf_diag(X, VARIANCE, 1.0), tolerance(dtype))

    def test_layout(self, dtype):
        """The same bits from every memory layout, and the inputs stay as they are."""
        X, Z, C = cast(dtype, *pullback_case(33, 70, 3, True)[:3])
        k = kernel(3, True)
        K, dX = k(X, Z), k.vjp(X, Z, C)[0]
        kept = [a.copy() for a in (X, Z, C)]
        for name, other in layouts(X):
            np.testing.assert_array_equal(k(other, Z), K, err_msg=name)
            np.testing.assert_array_equal(k.vjp(other, Z, C)[0], dX, err_msg=name)
        for name, other in layouts(Z):
            np.testing.assert_array_equal(k(X, other), K, err_msg=name)
        for name, other in layouts(C):
            np.testing.assert_array_equal(k.vjp(X, Z, other)[0], dX, err_msg=name)
        for array, before in zip((X, Z, C), kept, strict=True):
            np.testing.assert_array_equal(array, before)

    def test_types(self):
        X = points(5, 2, 1)
        k = kernel(2, True)
        X32 = X.astype(np.float32)
        assert k(X32, X32).dtype == np.float32
        assert k(X32, X).dtype == k(X, X32).dtype == np.float64
        assert k.vjp(X32, X, np.ones((5, 5)))[0].dtype == np.float64
        assert k.vjp(X32, None, np.ones((5, 5)))[0].dtype == np.float32
        np.testing.assert_array_equal(k(X32, X), k(X, X))
        np.testing.assert_array_equal(RBF()([[0], [1]]), RBF()(np.array([[0.0], [1.0]])))
        for scalar in (2, 2.0, np.float32(2), np.int64(2), np.array(2.0)):
            np.testing.assert_array_equal(RBF(scalar, scalar)(X), RBF(2.0, 2.0)(X))
        for ells in ([2, 2], (2.0, 2.0), np.full(2, 2.0), np.full(4, 2.0)[::2]):
            np.testing.assert_array_equal(RBF(2.0, ells)(X), RBF(2.0, 2.0)(X))

    def test_out(self, dtype):
        X, Z, _ = case(33, 17, 3, True)
        X, Z = cast(dtype, X, Z)
        k = kernel(3, True)
        for arguments, shape in [((X,), (33, 33)), ((X, Z), (33, 17))]:
            out = np.full(shape, np.nan, dtype)
            assert k(*arguments, out=out) is out
            np.testing.assert_array_equal(out, k(*arguments))

    def test_out_writes_nothing_else(self, dtype):
        """Rows of a larger array are C-contiguous too; what stands around them stays."""
        X = points(33, 2, 1).astype(dtype)
        frame = np.full((35, 33), np.nan, dtype)
        kernel(2, True)(X, out=frame[1:34])
        np.testing.assert_array_equal(frame[1:34], kernel(2, True)(X))
        assert np.isnan(frame[[0, 34]]).all()

    def test_out_errors(self):
        X, k = np.ones((3, 2)), RBF()
        frozen = np.empty((3, 3))
        frozen.flags.writeable = False
        for out in (np.empty((3, 2)), np.empty((3, 3), np.float32), np.empty(9), [[0.0] * 3] * 3):
            with pytest.raises(ValueError, match=r"out must be an array of float64 with shape \(3, 3\), got "):
                k(X, out=out)
        for out in (np.empty((3, 3), order="F"), np.empty((3, 6))[:, ::2], frozen):
            with pytest.raises(ValueError, match="out must be C-contiguous and writeable"):
                k(X, out=out)

    def test_out_may_be_the_input(self, dtype):
        """Inputs are copied before the first entry is written."""
        X = points(5, 5, 1).astype(dtype)
        expected = kernel(5, True)(X)
        np.testing.assert_array_equal(kernel(5, True)(X, out=X), expected)

    @pytest.mark.parametrize("name", ["X", "Z"])
    def test_input_errors(self, name):
        def call(bad):
            return RBF()(bad) if name == "X" else RBF()(np.ones((3, 2)), bad)

        for shape in [(3,), (3, 2, 1), ()]:
            with pytest.raises(ValueError, match=rf"{name} must have shape \(n, d\), got \("):
                call(np.ones(shape))
        for bad in (np.nan, np.inf, -np.inf):
            array = np.ones((3, 2))
            array[2, 1] = bad
            with pytest.raises(ValueError, match=f"{name} must be finite, got {bad} at row 2, column 1"):
                call(array)
        with pytest.raises(TypeError, match=f"{name} must hold real numbers, got dtype complex128"):
            call(np.ones((3, 2)) * 1j)

    def test_column_and_cotangent_errors(self):
        X, k = np.ones((3, 2)), RBF()
        with pytest.raises(ValueError, match="Z must have 2 columns, got 3"):
            k(X, np.ones((3, 3)))
        for Z, shape in [(None, r"\(3, 3\)"), (np.ones((4, 2)), r"\(3, 4\)")]:
            with pytest.raises(ValueError, match=rf"cotangent must have shape {shape}, got \(4, 3\)"):
                k.vjp(X, Z, np.ones((4, 3)))
        with pytest.raises(ValueError, match="cotangent must be finite, got nan at row 0, column 0"):
            k.vjp(X, None, np.full((3, 3), np.nan))

    @pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf])
    def test_parameter_values(self, bad):
        X = np.ones((3, 2))
        for call in (lambda k: k(X), lambda k: k.diag(X), lambda k: k.vjp(X, None, np.ones((3, 3)))):
            with pytest.raises(ValueError, match="variance must be a finite number > 0, got"):
                call(RBF(variance=bad))
            for ells in (bad, [1.0, bad]):
                with pytest.raises(ValueError, match="lengthscale must be (a finite number|finite and) > 0, got"):
                    call(RBF(lengthscale=ells))

    def test_parameter_shapes(self):
        X = np.ones((3, 2))
        for shape in [(3,), (1,), (2, 1)]:
            with pytest.raises(ValueError, match=r"lengthscale must be a number or have shape \(2,\), got shape \("):
                RBF(lengthscale=np.ones(shape))(X)
        for bad in ("1", None, True):
            with pytest.raises(TypeError, match="variance must be a number > 0 or an array of them, got"):
                RBF(variance=bad)(X)
        with pytest.raises(ValueError, match=r"variance must be a number, got shape \(1,\)"):
            RBF(variance=[1.0])(X)

    @pytest.mark.parametrize(
        ("dtype", "variance", "lengthscale", "x"),
        [
            (np.float32, 1.0, 1e-50, 1.0),  # float32 holds neither this lengthscale nor the next variance
            (np.float32, 1e50, 1.0, 1.0),
            (np.float32, 1.0, 1e-3, 3e38),
            (np.float64, 1.0, 1e-320, 1.0),
            (np.float64, 1.0, 1.0, 1.5e308),
        ],
    )
    def test_range(self, dtype, variance, lengthscale, x):
        """What the type cannot hold is an error that names it, or it does no harm; never NaN or infinity."""
        X = np.array([[x], [-x]], dtype)
        try:
            K = RBF(variance, lengthscale)(X)
        except (ValueError, FloatingPointError):
            return
        np.testing.assert_array_equal(K, [[variance, 0], [0, variance]])


class TestParameters:
    def test_get_and_set(self):
        k = RBF(2.0, [1.0, 2.0])
        assert k.get_params() == {"variance": 2.0, "lengthscale": [1.0, 2.0], "active_dims": None}
        assert k.set_params(variance=3.0) is k
        assert k.variance == 3.0
        with pytest.raises(ValueError, match=r"'period' names no parameter of RBF; there are variance, lengthscale"):
            k.set_params(period=1.0)

    def test_equality(self):
        assert RBF(2.0, np.array([1.0, 2.0])) == RBF(2.0, [1.0, 2.0])
        assert RBF(2.0) != RBF(3.0)
        assert RBF(1.0, 2.0) != RBF(1.0, [2.0, 3.0])
        assert RBF() != 1.0

    def test_repr(self):
        assert repr(RBF(2.0, np.array([0.5, 1.25]))) == "RBF(variance=2.0, lengthscale=[0.5 , 1.25])"


class TestAgreement:
    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize("m", [0, 211])
    def test_threads(self, set_num_threads, dtype, q, m):
        """The same bits for any number of threads."""
        X, Z, C = points(200, q, 1), points(m, q, 2) if m else None, points(200, m or 200, 3)
        X, Z, C = cast(dtype, X, Z, C)
        answers = []
        for n in (1, 2, 3):
            set_num_threads(n)
            k = kernel(q, True)
            answers.append((k(X, Z), *k.vjp(X, Z, C)))
        for K, dX, dZ, gradients in answers[1:]:
            np.testing.assert_array_equal(K, answers[0][0])
            np.testing.assert_array_equal(dX, answers[0][1])
            np.testing.assert_equal(dZ, answers[0][2])
            np.testing.assert_equal(gradients, answers[0][3])

    def test_repetition(self, dtype):
        X, C = points(200, 4, 1).astype(dtype), points(200, 200, 3).astype(dtype)
        k = kernel(4, False)
        K, (dX, _, gradients) = k(X), k.vjp(X, None, C)
        for _ in range(20):
            np.testing.assert_array_equal(k(X), K)
            again, _, same = k.vjp(X, None, C)
            np.testing.assert_array_equal(again, dX)
            assert same == gradients

    def test_rows_do_not_depend_on_their_neighbours(self, instruction_set, dtype):
        """A row of k(X, Z) with points around zero has the same value in any company, up to centring."""
        X, Z = points(70, 3, 1).astype(dtype), points(33, 3, 2).astype(dtype)
        whole = kernel(3, True)(X, Z)
        for begin, end in [(0, 1), (5, 9), (60, 70), (69, 70)]:
            assert_near(kernel(3, True)(X[begin:end], Z), whole[begin:end], tolerance(dtype, 3), scale=VARIANCE)
