"""What logistic regression refuses: arguments, data, and posteriors that do not exist. The message names the remedy."""

from __future__ import annotations

import numpy as np
import pytest

import lvmfast as lvm
from lvmfast.exceptions import NotPositiveDefiniteError
from lvmfast.models._logistic_data import Data, Prior
from lvmfast.models._logistic_gibbs import ChainState, GibbsSampler

Model = lvm.PolyaGammaLogisticRegression
RNG = np.random.default_rng(0)
X, y = RNG.standard_normal((30, 2)), RNG.integers(0, 2, 30)
COUNTS = RNG.poisson(2.0, 30)

PARAMETERS = {
    "prior_precision": [
        (-1.0, ValueError, "prior_precision must be >= 0, got -1"),
        (np.nan, ValueError, "prior_precision must be a finite number"),
        ([1.0, 2.0], ValueError, r"shape \(3,\) or \(3, 3\), the intercept last, got shape \(2,\)"),
        (np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), ValueError, "must be symmetric"),
        (np.diag([1.0, -1.0, 1.0]), ValueError, "must be positive semidefinite, got the eigenvalue -1"),
        ("high", TypeError, "prior_precision must hold real numbers"),
    ],
    "prior_mean": [([0.0, 1.0], ValueError, "prior_mean"), (np.inf, ValueError, "prior_mean must be a finite number")],
    "likelihood": [("poisson", ValueError, "likelihood must be one of 'bernoulli', 'binomial', 'negative-binomial'")],
    "method": [("nuts", ValueError, "method must be one of 'gibbs', 'vi', got 'nuts'")],
    "n_samples": [(0, ValueError, "n_samples must be an integer >= 1, got 0"), (1.5, TypeError, "n_samples")],
    "burn_in": [(-1, ValueError, "burn_in must be an integer >= 0")],
    "thin": [(0, ValueError, "thin must be an integer >= 1")],
    "n_chains": [(True, TypeError, "n_chains must be an integer")],
    "max_iter": [(0, ValueError, "max_iter")],
    "tol": [(-1e-3, ValueError, "tol must be a finite number >= 0")],
    "fit_intercept": [("yes", TypeError, "fit_intercept must be True or False")],
    "keep_omega": [(1, TypeError, "keep_omega must be True or False")],
    "basis": [(3, TypeError, "basis must be callable, got 3")],
    "callback": [("print", TypeError, "callback must be callable")],
    "random_state": [(-3, ValueError, "random_state must be None, an int >= 0")],
    "device": [("tpu", ValueError, "device must be 'auto', 'cpu' or 'cuda'")],
}


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in PARAMETERS.items() for case in cases])
def test_parameters(name, case):
    value, error, message = case
    model = Model(**{name: value})
    for call in (model.fit, model.itergibbs):
        with pytest.raises(error, match=message):
            call(X, y)
    assert not hasattr(model, "coef_") and getattr(model, name) is value


NAN = np.where(np.arange(60).reshape(30, 2) == 7, np.nan, X)
DATA = [
    ((NAN, y), {}, {}, "NaN"),
    ((X, np.where(y == 1, np.nan, 0.0)), {}, {}, "NaN"),
    ((X, y[:-1]), {}, {}, "inconsistent numbers of samples"),
    ((X[:, 0], y), {}, {}, "Reshape your data"),
    ((X[:0], y[:0]), {}, {}, "0 sample"),
    ((X, np.arange(30) % 3), {}, {}, "Only binary classification is supported. The type of the target is multiclass"),
    ((X, X[:, 0]), {}, {}, "Unknown label type: continuous"),
    ((X, np.ones(30)), {}, {}, "two classes, got 1 class"),
    ((X, y), {}, {"sample_weight": np.ones(29)}, "sample_weight"),
    ((X, y), {}, {"sample_weight": -np.ones(30)}, "Negative values"),
    ((X, y), {}, {"sample_weight": np.zeros(30)}, "(?i)weight.* (zero|non-zero)"),
    ((X, y), {}, {"n_trials": 3}, "n_trials and dispersion must be None for likelihood='bernoulli'"),
    ((X, COUNTS), {"likelihood": "binomial"}, {}, "n_trials must be given"),
    ((X, COUNTS), {"likelihood": "binomial"}, {"n_trials": 1}, "y must be <= n_trials, got"),
    ((X, COUNTS), {"likelihood": "binomial"}, {"n_trials": 20.5}, "n_trials must hold whole numbers"),
    ((X, COUNTS), {"likelihood": "binomial"}, {"n_trials": np.full(29, 20)}, r"have shape \(30,\)"),
    ((X, COUNTS), {"likelihood": "binomial"}, {"n_trials": 20, "dispersion": 1.0}, "dispersion must be None"),
    ((X, COUNTS - 10), {"likelihood": "binomial"}, {"n_trials": 20}, "y must hold counts, whole numbers >= 0"),
    ((X, COUNTS + 0.5), {"likelihood": "negative-binomial"}, {"dispersion": 1.0}, "y must hold counts"),
    ((X, COUNTS), {"likelihood": "negative-binomial"}, {}, "dispersion must be given"),
    ((X, COUNTS), {"likelihood": "negative-binomial"}, {"dispersion": 0.0}, "dispersion must be > 0"),
    ((X, COUNTS), {"likelihood": "negative-binomial"}, {"dispersion": 1.0, "n_trials": 3}, "n_trials must be None"),
    ((X, y), {"basis": lambda X: X[:-1]}, {}, r"basis\(X\) must have a row for every row of X, 30, got 29"),
    ((X, y), {"basis": lambda X: X[:, 0]}, {}, r"basis\(X\) must have shape"),
    ((X, y), {"basis": lambda X: np.full((30, 1), np.inf)}, {}, r"basis\(X\) must be finite"),
    ((X, y), {"basis": lambda X: X[:, :0], "fit_intercept": False}, {}, r"basis\(X\) must have columns"),
]


@pytest.mark.parametrize("method", ["gibbs", "vi"])
@pytest.mark.parametrize("case", DATA)
def test_data(case, method):
    arguments, params, rest, message = case
    with pytest.raises(ValueError, match=message):
        Model(method=method, **params).fit(*arguments, **rest)


SEPARABLE = (X[:, 0] + 2 * X[:, 1] > 0.3).astype(int)
TIED = np.column_stack([np.repeat([-1.0, 0.0, 1.0], 10), np.tile([0.0, 1.0], 15)])


@pytest.mark.parametrize("method", ["gibbs", "vi"])
def test_separable_data_with_a_flat_prior(method):
    """There is no posterior; a prior along the direction that separates gives one, one along another does not."""
    message = "separates the data linearly: .* set prior_precision > 0"
    with pytest.raises(ValueError, match=message):
        Model(0.0, method=method).fit(X, SEPARABLE)
    along = np.array([1.0, 2.0, -0.3])
    S = np.outer(along, along)
    Model(S, method=method, n_samples=10, burn_in=0).fit(X, SEPARABLE)
    other = np.array([0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=message):
        Model(np.outer(other, other), method=method).fit(X, SEPARABLE)
    Model(1e-3, method=method, n_samples=10, burn_in=0).fit(X, SEPARABLE)


def test_data_that_touch():
    """Rows of both labels in the plane between: the likelihood still grows for ever (quasi-complete separation)."""
    labels = np.repeat([0, 0, 1], 10)
    labels[12:15] = 1
    with pytest.raises(ValueError, match="separates the data linearly"):
        Model(0.0).fit(TIED, labels)
    labels[25] = 0
    Model(0.0, n_samples=10, burn_in=0).fit(TIED, labels)


def test_counts_that_separate():
    """Only zeros on one side, and elsewhere only full counts; one row of some of both in its way."""
    successes = 5.0 * SEPARABLE
    with pytest.raises(ValueError, match="separates"):
        Model(0.0, likelihood="binomial").fit(X, successes, n_trials=5)
    row = int(np.argmax(np.abs(X @ [1, 2] - 0.3)))
    successes[row] = 2
    Model(0.0, likelihood="binomial", n_samples=10, burn_in=0).fit(X, successes, n_trials=5)
    zeros = np.zeros(30)
    with pytest.raises(ValueError, match="separates"):
        Model(0.0, likelihood="negative-binomial").fit(X, zeros, dispersion=2.0)


def test_flat_priors_and_columns_that_depend_on_one_another():
    both = np.column_stack([X, X[:, 0] - X[:, 1]])
    with pytest.raises(ValueError, match="the data do not determine them all .*drop columns"):
        Model(0.0).fit(both, y)
    with pytest.raises(ValueError, match="do not determine"):
        Model(0.0).fit(X[:2], y[:2] * 0 + [0, 1])
    Model([1.0, 0.0, 0.0, 0.0], n_samples=10, burn_in=0).fit(both, y)


def test_a_factor_that_is_lost():
    """What gets past the checks, here a precision that is not positive, is an error of the sampler; nothing moves."""
    data = Data(np.ones((5, 2)), np.ones(5) * 0.5, np.ones(5), 0.0)
    prior = Prior(np.zeros(2), np.diag([1.0, -50.0]), 2, 0.0, np.zeros((2, 0)))
    state = ChainState(np.zeros((3, 2), np.uint64), np.zeros((3, 2)))
    sampler = GibbsSampler(data, prior, state, "cpu")
    with pytest.raises(
        NotPositiveDefiniteError, match="posterior precision of chain 0 .* iteration 0 .*prior_precision"
    ):
        sampler.run(5)
    assert state.iteration == 0 and not state.beta.any()


def test_questions():
    model = Model(n_samples=10, burn_in=0, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, :1])
    with pytest.raises(ValueError, match="labels"):
        model.log_predictive_density(X, y + 1)
    with pytest.raises(ValueError, match=r"y must have shape \(30,\)"):
        model.log_predictive_density(X, y[:3])
    for n in (0, -1):
        with pytest.raises(ValueError, match="n_samples must be an integer >= 1"):
            model.sample_y(X, n)
    with pytest.raises(ValueError, match="n must be an integer >= 0"):
        model.resume(-1)
    vi = Model(method="vi").fit(X, y)
    with pytest.raises(ValueError, match="per_draw must be False after method='vi'"):
        vi.predict_proba(X, per_draw=True)
    with pytest.raises(ValueError, match="to_inference_data needs draws"):
        vi.to_inference_data()
    rows = Model(likelihood="binomial", n_samples=10).fit(X, COUNTS, n_trials=COUNTS + 1)
    with pytest.raises(ValueError, match="n_trials must be given for new rows"):
        rows.predict(X)
    with pytest.raises(ValueError, match="pass n_trials only"):
        rows.predict(X, n_trials=3, dispersion=1.0)
    assert rows.predict(X, n_trials=3).max() < 3


def test_bindings_check_shapes():
    """Mistakes within lvmfast raise instead of reading what is not there."""
    module = lvm._backend.cpu
    good = [np.ones((4, 2)), np.ones(4), np.ones(2), np.eye(2), np.zeros((1, 2), np.uint64)]
    bad = {0: np.ones(4), 1: np.ones(3), 2: np.ones(3), 3: np.eye(3), 4: np.zeros((1, 3), np.uint64)}
    for at, value in bad.items():
        with pytest.raises(ValueError, match="must have shape"):
            module.LogisticGibbs64(*good[:at], value, *good[at + 1 :])
    with pytest.raises(ValueError, match="rows and columns"):
        module.LogisticGibbs64(np.ones((0, 2)), np.ones(1), *good[2:])
    sampler = module.LogisticGibbs64(*good)
    beta = np.zeros((1, 2))
    for arguments, message in [
        ((np.zeros((2, 2)), 0, 1, 0, 0, None, None), "beta must have shape"),
        ((beta, 0, 3, 1, 0, np.empty((1, 2, 2)), None), "draws must have room"),
        ((beta, 0, 2, 1, 1, np.empty((1, 2, 2)), None), "draws must have room"),
        ((beta, 0, 2, 1, 0, np.empty((1, 2, 2), np.float32), None), "draws must be an array"),
        ((beta, 0, 2, 1, 0, np.empty((1, 2, 2)), np.empty((1, 2, 3))), "omega must have shape"),
        ((beta, -1, 2, 1, 0, np.empty((1, 2, 2)), None), "must be >= 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            sampler.run(*arguments)
