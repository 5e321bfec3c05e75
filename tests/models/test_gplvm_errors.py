"""What a GPLVM refuses: the message names the argument, the rule and the value got."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import lvmfast as lvm
from lvmfast import _gpu
from lvmfast.exceptions import DeviceError, LvmfastError, NonFiniteError

pytestmark = pytest.mark.filterwarnings("ignore:the fit ended before convergence")


RBF = lvm.kernels.RBF
NAN, INF = np.nan, np.inf
N, D = 12, 4


def observations():
    return np.random.default_rng(0).standard_normal((N, D))


def changed(value, row=3, column=1):
    Y = observations()
    Y[row, column] = value
    return Y


@pytest.fixture(scope="module")
def model():
    with pytest.warns(UserWarning, match="before convergence"):
        return lvm.GPLVM(max_iter=5).fit(observations())


def assert_refused(call, error, *parts):
    """`call` raises `error`, whose message holds all `parts`."""
    with pytest.raises(error) as caught:
        call()
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"


# Parameters of the estimator: (value, error, parts of the message besides the name).

FLOAT = "must be a finite number > 0"
COUNT = "must be an integer >= 1"
PARAMETERS = {
    "n_components": [
        (0, ValueError, COUNT, "got 0"),
        (-1, ValueError, COUNT, "got -1"),
        (1.5, TypeError, COUNT, "got 1.5"),
        ("2", TypeError, COUNT, "got '2'"),
        (True, TypeError, COUNT, "got True"),
        (None, TypeError, COUNT, "got None"),
        (D + 1, ValueError, f"<= min(n_samples, n_features) = {D} with init='pca'", f"got {D + 1}"),
    ],
    "kernel": [
        ("rbf", TypeError, "must be an lvmfast kernel", "got 'rbf'"),
        (RBF, TypeError, "must be an lvmfast kernel", "got <class"),
    ],
    "noise_variance": [
        (-0.5, ValueError, FLOAT, "got -0.5"),
        (0, ValueError, FLOAT, "got 0"),
        (NAN, ValueError, FLOAT, "got nan"),
        (INF, ValueError, FLOAT, "got inf"),
        ("low", TypeError, "must be a number > 0", "got 'low'"),
        ([0.1, 0.2], TypeError, "must be a number > 0", "got [0.1, 0.2]"),
        (np.array([0.1]), TypeError, "must be a number > 0", "got array([0.1])"),
    ],
    "init": [
        ("spectral", ValueError, "must be one of 'pca', 'random'", "got 'spectral'"),
        (np.zeros((N, 3)), ValueError, f"must have shape ({N}, 2)", f"got ({N}, 3)"),
        (np.zeros((N + 1, 2)), ValueError, f"must have shape ({N}, 2)", f"got ({N + 1}, 2)"),
        (np.zeros(N), ValueError, "must have shape (n, d)", f"got ({N},)"),
        (np.full((N, 2), NAN), ValueError, "must be finite", "got nan at row 0, column 0"),
        (np.full((N, 2), "a"), TypeError, "must hold real numbers", "got dtype <U1"),
        (None, TypeError, "got"),
    ],
    "optimizer": [
        ("sgd", ValueError, "must be one of 'auto', 'lbfgs', 'adam'", "got 'sgd'"),
        (None, ValueError, "must be one of 'auto', 'lbfgs', 'adam'", "got None"),
    ],
    "learning_rate": [
        (0.0, ValueError, FLOAT, "got 0.0"),
        (-1, ValueError, FLOAT, "got -1"),
        ("fast", TypeError, "must be a number > 0", "got 'fast'"),
    ],
    "max_iter": [(0, ValueError, COUNT, "got 0"), (2.5, TypeError, COUNT, "got 2.5")],
    "tol": [
        (-1e-3, ValueError, "must be a finite number >= 0", "got -0.001"),
        (NAN, ValueError, "must be a finite number >= 0", "got nan"),
        (None, TypeError, "must be a number >= 0", "got None"),
    ],
    "missing": [("drop", ValueError, "must be one of 'raise', 'marginalize'", "got 'drop'")],
    "jitter": [
        ("some", ValueError, "must be 'auto' or a number >= 0", "got 'some'"),
        (-1.0, ValueError, "number >= 0", "got -1.0"),
        (INF, ValueError, "number >= 0", "got inf"),
        (None, TypeError, "number >= 0", "got None"),
    ],
    "callback": [("print", TypeError, "must be callable", "got 'print'")],
    "random_state": [
        (-1, ValueError, "must be None, an int >= 0 or", "got -1"),
        (0.5, ValueError, "must be None, an int >= 0 or", "got 0.5"),
        ("seed", ValueError, "must be None, an int >= 0 or", "got 'seed'"),
    ],
    "device": [
        ("tpu", ValueError, "must be 'auto', 'cpu' or 'cuda'", "got 'tpu'"),
        (0, ValueError, "must be 'auto', 'cpu' or 'cuda'", "got 0"),
    ],
}
CASES = [(name, *case) for name, cases in PARAMETERS.items() for case in cases]


@pytest.mark.parametrize(("name", "value", "error", "parts"), [(c[0], c[1], c[2], c[3:]) for c in CASES])
def test_parameter(name, value, error, parts):
    model = lvm.GPLVM(**{name: value})  # __init__ checks nothing
    assert_refused(lambda: model.fit(observations()), error, name, *parts)
    assert not hasattr(model, "embedding_")


@pytest.mark.parametrize(
    ("kernel", "error", "parts"),
    [
        (RBF(-1.0), ValueError, ("variance must be a finite number > 0", "got -1.0")),
        (RBF("a"), TypeError, ("variance must be a number > 0", "got 'a'")),
        (RBF(1.0, 0.0), ValueError, ("lengthscale must be a finite number > 0", "got 0.0")),
        (RBF(1.0, [1, NAN]), ValueError, ("lengthscale must be finite and > 0", "got [1, nan]")),
        (RBF(1.0, [1, 2, 3]), ValueError, ("lengthscale must", "shape (2,)", "got shape (3,)")),
        (RBF(1.0, [[1, 2]]), ValueError, ("lengthscale must", "shape (2,)", "got shape (1, 2)")),
    ],
)
def test_kernel_parameter(kernel, error, parts):
    assert_refused(lambda: lvm.GPLVM(kernel=kernel).fit(observations()), error, *parts)


def test_pca_names_the_remedy():
    Y = observations()
    assert_refused(lambda: lvm.GPLVM(D + 1).fit(Y), ValueError, "init='random'")
    assert lvm.GPLVM(D + 1, init="random", max_iter=3).fit(Y).embedding_.shape == (N, D + 1)


def test_device_that_is_not_there():
    if _gpu.usable() is not None:
        pytest.skip("there is a GPU")
    model = lvm.GPLVM(device="cuda")
    assert_refused(lambda: model.fit(observations()), DeviceError, "device='cuda'", "use device='cpu'")
    assert issubclass(DeviceError, LvmfastError)


# The observations given to fit.


@pytest.mark.parametrize(
    ("Y", "parts"),
    [
        (observations()[0], ("Expected 2D array, got 1D array",)),
        (observations()[None], ("dim 3", "GPLVM")),
        (3.0, ("Expected 2D array, got scalar",)),
        (None, ("Expected 2D array",)),
        (observations()[:1], ("1 sample", "minimum of 2", "GPLVM")),
        (observations()[:0], ("0 sample", "minimum of 2", "GPLVM")),
        (observations()[:, :0], ("0 feature", "minimum of 1", "GPLVM")),
        (observations() + 1j, ("Complex data not supported",)),
        (changed(INF), ("Input Y contains infinity",)),
        (changed(-INF), ("Input Y contains infinity",)),
        (changed(NAN), ("Y contains NaN", "row 3, column 1", "missing='marginalize'")),
        (np.zeros((N, D)), ("Y must vary", "constant")),
        (np.full((N, D), 2.5), ("Y must vary", "constant")),
        (1e200 * observations(), ("Y must have a finite mean square", "rescale")),
        ([["a", "b"], ["c", "d"]], ("Y must hold real numbers", "text")),
        (np.array([[1, "b"], [2, 3]], dtype=object), ("could not convert string",)),
        ([[1.0, 2.0], [3.0]], ("inhomogeneous",)),
    ],
    ids=lambda value: None if isinstance(value, tuple) else type(value).__name__,
)
def test_observations(Y, parts):
    model = lvm.GPLVM()
    assert_refused(lambda: model.fit(Y), ValueError, *parts)
    assert not hasattr(model, "embedding_")


def test_sparse_observations():
    sparse = pytest.importorskip("scipy.sparse")
    assert_refused(lambda: lvm.GPLVM().fit(sparse.csr_array(observations())), TypeError, "Sparse", "dense")


def test_nothing_observed():
    Y = np.full((N, D), NAN)
    model = lvm.GPLVM(missing="marginalize")
    assert_refused(lambda: model.fit(Y), ValueError, "Y must have at least one entry", "NaN")
    model = lvm.GPLVM(missing="marginalize")
    assert_refused(lambda: model.fit(changed(INF)), ValueError, "Input Y contains infinity")


def test_uncentred_zeros():
    model = lvm.GPLVM(center=False)
    assert_refused(lambda: model.fit(np.zeros((N, D))), ValueError, "Y must", "zero")


def test_a_learning_rate_that_is_too_large():
    """The latents leave the floating-point numbers; the message says what to do."""
    model = lvm.GPLVM(optimizer="adam", learning_rate=1e308, max_iter=5)
    with np.errstate(all="ignore"):
        assert_refused(lambda: model.fit(observations()), NonFiniteError, "learning_rate", "lower")
    assert not hasattr(model, "embedding_")


# What is given to a fitted model.


@pytest.mark.parametrize("method", ["transform", "score"])
@pytest.mark.parametrize(
    ("Y", "parts"),
    [
        (observations()[:, :3], ("3 features", "GPLVM is expecting 4 features")),
        (np.zeros((2, 5)), ("5 features", "GPLVM is expecting 4 features")),
        (observations()[0], ("Expected 2D array, got 1D array",)),
        (observations()[None], ("dim 3",)),
        (observations()[:0], ("0 sample",)),
        (changed(INF), ("Input Y contains infinity",)),
        (observations() + 1j, ("Complex data not supported",)),
        (
            np.vstack([observations()[:2], np.full(D, NAN)]),
            ("every row of Y must have an entry that is not NaN", "row 2"),
        ),
    ],
    ids=["narrow", "wide", "1d", "3d", "empty", "inf", "complex", "nan-row"],
)
def test_new_rows(method, Y, parts, model):
    assert_refused(lambda: getattr(model, method)(Y), ValueError, *parts)


@pytest.mark.parametrize("method", ["inverse_transform", "sample"])
@pytest.mark.parametrize(
    ("X", "error", "parts"),
    [
        ([[1.0, 2.0, 3.0]], ValueError, ("X must have 2 columns", "got 3")),
        ([[1.0]], ValueError, ("X must have 2 columns", "got 1")),
        ([1.0, 2.0], ValueError, ("X must have shape (n, d)", "got (2,)")),
        (1.0, ValueError, ("X must have shape (n, d)", "got ()")),
        ([[1.0, NAN]], ValueError, ("X must be finite", "got nan at row 0, column 1")),
        ([[INF, 0.0]], ValueError, ("X must be finite", "got inf at row 0, column 0")),
        ([["a", "b"]], TypeError, ("X must hold real numbers", "got dtype <U1")),
        ([[1j, 0]], TypeError, ("X must hold real numbers", "got dtype complex128")),
        (None, TypeError, ("X must hold real numbers", "got dtype object")),
    ],
)
def test_latents(method, X, error, parts, model):
    assert_refused(lambda: getattr(model, method)(X), error, *parts)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-3, ValueError), (1.5, TypeError), (None, TypeError)])
def test_number_of_draws(value, error, model):
    parts = ("n_samples must be an integer >= 1", f"got {value!r}")
    assert_refused(lambda: model.sample([[0.0, 0.0]], value), error, *parts)


def test_source_of_draws(model):
    parts = ("random_state must be", "got 'a'")
    assert_refused(lambda: model.sample([[0.0, 0.0]], random_state="a"), ValueError, *parts)


CALLS = {
    "transform": lambda m: m.transform(observations()),
    "inverse_transform": lambda m: m.inverse_transform([[0.0, 0.0]]),
    "sample": lambda m: m.sample([[0.0, 0.0]]),
    "score": lambda m: m.score(observations()),
    "resume": lambda m: m.resume(),
    "save": lambda m: m.save("never-written"),
    "get_feature_names_out": lambda m: m.get_feature_names_out(),
}


@pytest.mark.parametrize("name", CALLS)
def test_unfitted(name):
    assert_refused(lambda: CALLS[name](lvm.GPLVM()), NotFittedError, "GPLVM", "not fitted yet")
