"""What a latent grid refuses: the message names the argument, the rule and the value got; models stay as they were."""

from __future__ import annotations

import numpy as np
import pytest
from reference import grid_latent as oracle
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import lvmfast as lvm
from lvmfast import nn

NAN, INF = np.nan, np.inf
ROWS = np.array([[0.9, -0.9], [0.2, 0.3], [1.3, 1.0]])
GRID = np.linspace(-3, 3, 31)


def model(f=oracle.curve, noise_variance=0.04, **params):
    return lvm.GridLatentModel(f, noise_variance, **{"grid": GRID, **params})


def assert_refused(call, *parts):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"


CALLS = {
    "fit": lambda m: m.fit(ROWS),
    "log_density": lambda m: m.log_density(ROWS),
    "posterior": lambda m: m.posterior(ROWS),
    "log_likelihood": lambda m: m.log_likelihood(ROWS, [[0.0]]),
    "sample": lambda m: m.sample(3, rng=0),
}
NOISES = [0, 0.0, -1, NAN, INF, "low", True, [0.1, -0.2], [0.1, NAN], [[0.1, 0.2]], [0.1, 0.2, 0.3], []]
MAPS = {
    "not callable": ("curve", "f must be callable"),
    "a class": (None, "f must be callable"),
    "too few rows": (lambda z: np.zeros((len(z) - 1, 2)), "f must return"),
    "one number": (lambda z: 1.0, "f must return"),
    "three dimensions": (lambda z: np.zeros((len(z), 2, 2)), "f must return"),
    "unequal parts": (lambda z: (z, z[:-1]), "f must return"),
    "transposed": (lambda z: np.zeros((2, len(z))), "f must return"),
    "text": (lambda z: np.full((len(z), 2), "a"), "f must return"),
    "complex": (lambda z: np.zeros((len(z), 2)) + 1j, "f must return"),
    "nothing": (lambda z: None, "f must return"),
    "NaN": (lambda z: np.where(z > 0, NAN, 0.0) * np.ones(2), "nan"),
    "infinite": (lambda z: np.where(z > 0, INF, 0.0) * np.ones(2), "inf"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_noise(noise, call):
    made = model(noise_variance=noise)  # __init__ checks nothing
    assert_refused(lambda: CALLS[call](made), "noise_variance must be", "got")
    assert not hasattr(made, "noise_variance_")


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"fit"}))
def test_no_noise_before_a_fit(call):
    assert_refused(
        lambda: CALLS[call](model(noise_variance=None)), "noise_variance must be a number > 0", "fitted", "got None"
    )


# at the latents of single rows those two are finite
WHOLE = ("NaN", "infinite")
CASES = [
    (name, call) for name in MAPS for call in CALLS if name not in WHOLE or call not in ("log_likelihood", "sample")
]


@pytest.mark.parametrize(("name", "call"), CASES)
def test_map(name, call):
    f, part = MAPS[name]
    assert_refused(lambda: CALLS[call](model(f)), "f ", part, "got")


def test_an_error_of_the_map_is_the_maps_own():
    def f(z):
        raise ZeroDivisionError("of one's own")

    with pytest.raises(ZeroDivisionError, match="of one's own"):
        model(f).log_density(ROWS)


def test_a_map_that_writes_to_its_latents():
    """It gets a copy: grids, draws and fits are those of a map that does not."""

    def doubles(z):
        z *= 2
        return oracle.curve(z)

    def doubled(z):
        return oracle.curve(2 * z)

    latents = GRID[:, None].copy()
    rule = latents, np.full(31, 0.2)
    np.testing.assert_array_equal(
        model(doubles, grid=rule).log_density(ROWS), model(doubled, grid=rule).log_density(ROWS)
    )
    np.testing.assert_array_equal(latents[:, 0], GRID)
    for draws in zip(*(model(f).sample(5, rng=0, return_latents=True) for f in (doubles, doubled)), strict=True):
        np.testing.assert_array_equal(*draws)
    assert model(doubles, None).fit(ROWS).noise_variance_ == model(doubled, None).fit(ROWS).noise_variance_


def test_networks_that_do_not_fit():
    net = nn.Sequential([nn.Dense(2)]).build((3,), np.float64, seed=0)
    assert_refused(lambda: model(net).log_density(ROWS), "f must", "(1,)", "(3,)")
    wide = nn.Sequential([nn.Dense(5)]).build((1,), np.float64, seed=0)
    assert_refused(lambda: model(wide).fit(ROWS), "5", "2")


GRIDS = {
    "descending": (GRID[::-1], 1, "increas"),
    "equal": (np.array([0.0, 1.0, 1.0]), 1, "increas"),
    "NaN": (np.array([0.0, NAN, 1.0]), 1, "nan"),
    "one latent": (np.array([0.0]), 1, "grid"),
    "empty": (np.array([]), 1, "grid"),
    "matrix": (np.zeros((4, 2)), 1, "grid"),
    "word": ("fine", 1, "'fine'"),
    "axis for two": (GRID, 2, "n_components"),
    "mesh for one": (lvm.grids.mesh(GRID, GRID), 1, "n_components"),
    "negative weight": ((GRID[:, None], np.linspace(-1, 1, 31)), 1, "weights"),
    "short weights": ((GRID[:, None], np.ones(30)), 1, "weights"),
    "no weight": ((GRID[:, None], np.zeros(31)), 1, "weights"),
    "wide rule": ((np.zeros((5, 2)), np.ones(5)), 1, "1 columns, got 2"),
}


@pytest.mark.parametrize("name", GRIDS)
def test_grid(name):
    grid, q, part = GRIDS[name]
    f = oracle.curve if q == 1 else (lambda z: z)
    for call in ("log_density", "fit"):
        assert_refused(lambda call=call: CALLS[call](model(f, grid=grid, n_components=q)), "grid", part)


@pytest.mark.parametrize(
    ("params", "parts"),
    [
        ({"n_components": 0}, ("n_components", "got 0")),
        ({"n_components": 3, "grid": None}, ("n_components", "got 3")),
        ({"n_components": 1.5}, ("n_components", "got 1.5")),
        ({"grid": None, "n_grid": 1}, ("n_grid", "got 1")),
        ({"grid": "gauss-hermite", "n_grid": 0}, ("n_grid", "got 0")),
        ({"prior": "normal"}, ("prior", "got 'normal'")),
        ({"prior": lvm.distributions.Normal([0.0, 1.0])}, ("prior", "(2,)")),
        (
            {"prior": lvm.distributions.Uniform(-1.0, 1.0), "grid": "gauss-hermite"},
            ("prior must be a Normal", "got Uniform"),
        ),
    ],
    ids=lambda value: repr(value)[:50] if isinstance(value, dict) else None,
)
def test_parameters(params, parts):
    for call in ("log_density", "fit"):
        assert_refused(lambda call=call: CALLS[call](model(**params)), *parts)


def test_a_prior_whose_extent_is_not_known():
    prior = lvm.distributions.TransformedDistribution(lvm.distributions.Normal(0.0, 1.0), lvm.bijectors.Exp())
    for call in ("log_density", "fit"):
        assert_refused(lambda call=call: CALLS[call](model(prior=prior, grid=None)), "grid must be given", "got Trans")
    model(prior=prior, grid=GRID + 3.1).log_density(ROWS)


def test_a_prior_without_mass_on_the_grid():
    far = lvm.distributions.Uniform(10.0, 11.0)
    assert_refused(lambda: model(prior=far).log_density(ROWS), "prior", "grid")


@pytest.mark.parametrize(
    ("params", "parts"),
    [
        ({"max_iter": 0}, ("max_iter must be an integer >= 1", "got 0")),
        ({"tol": -1.0}, ("tol must be", "got -1.0")),
        ({"callback": "print"}, ("callback must be callable", "got 'print'")),
    ],
)
def test_parameters_of_fits(params, parts):
    assert_refused(lambda: model(**params).fit(ROWS), *parts)


@pytest.mark.parametrize("method", ["log_density", "posterior", "score", "score_samples", "transform", "fit"])
@pytest.mark.parametrize(
    ("X", "parts"),
    [
        (ROWS[0], ("1D array|shape",)),
        (ROWS[None], ("dim 3|shape",)),
        (np.zeros((3, 5)), ("5", "2")),
        (np.array([[0.0, 1.0], [0.5, NAN]]), ("X", "(?i)nan")),
        ([["a", "b"]], ("",)),
        (ROWS + 1j, ("(?i)complex",)),
    ],
    ids=["1-D", "3-D", "wide", "NaN", "text", "complex"],
)
def test_rows(method, X, parts):
    with pytest.raises((TypeError, ValueError)) as caught:
        getattr(model(), method)(X)
    for part in parts:
        caught.match(part)


@pytest.mark.parametrize("call", ["log_likelihood", "log_density", "posterior"])
def test_columns_in_another_order(call):
    """What has columns is held against those of the fit."""

    class Frame(np.ndarray):
        columns = ("b", "a")

    fitted = model().fit(ROWS)
    fitted.feature_names_in_ = np.array(["a", "b"], dtype=object)
    more = (0.0,) if call == "log_likelihood" else ()
    assert_refused(lambda: getattr(fitted, call)(ROWS.view(Frame), *more), "X must have the columns", "['b', 'a']")


def test_rows_for_a_fit_are_finite():
    X = ROWS.copy()
    X[1, 0] = INF
    assert_refused(lambda: model().fit(X), "inf")


def test_a_mesh_of_another_space():
    """It is refused before its points are made, which no memory holds."""
    mesh = lvm.grids.mesh(*[np.arange(1e6)] * 3)
    for call in (lambda: model().log_density(mesh), lambda: model().posterior(mesh)):
        assert_refused(call, "X", "2", "3")


@pytest.mark.parametrize(
    ("z", "parts"),
    [
        (np.zeros((2, 1)), ("Z ", "3", "2")),
        (np.zeros((3, 2)), ("Z ", "1", "2")),
        (np.zeros((0, 1)), ("Z ", "0")),
        ([[NAN]], ("Z must be finite", "nan")),
        ([["a"]], ("Z must hold real numbers",)),
    ],
)
def test_latents(z, parts):
    assert_refused(lambda: model().log_likelihood(ROWS, z), *parts)


@pytest.mark.parametrize("n", [0, -1, 1.5, "3", None])
def test_counts(n):
    assert_refused(lambda: model().sample(n), "n must be an integer >= 1", f"got {n!r}")


@pytest.mark.parametrize("n", [-1, 1.5, "3", (2, -1)])
def test_sizes(n):
    assert_refused(lambda: model().posterior(ROWS).sample(n), "must be an int or a tuple of ints >= 0", f"got {n!r}")


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95, NAN, "most", None])
def test_levels(level):
    found = model().posterior(ROWS)
    assert_refused(lambda: found.credible_interval(level), "level must", f"got {level!r}")
    assert_refused(lambda: found.credible_region(level), "level must", f"got {level!r}")


def test_a_failed_fit_changes_nothing():
    fitted = model(noise_variance=1.0).fit(ROWS)
    before, noise = fitted.log_density(ROWS), fitted.noise_variance_
    X = ROWS.copy()
    X[0, 0] = NAN
    assert_refused(lambda: fitted.fit(X), "NaN")
    assert_refused(lambda: fitted.set_params(max_iter=0).fit(ROWS), "max_iter")
    fitted.set_params(max_iter=200)
    assert fitted.noise_variance_ == noise
    np.testing.assert_array_equal(fitted.log_density(ROWS), before)


def test_warnings_name_the_callers_line():
    X = np.vstack([ROWS, [[INF, 0.0]]])
    net = nn.Sequential([nn.Dense(2)])
    for call in (lambda: model().posterior(X), lambda: model(net, None, max_iter=1, random_state=0).fit(ROWS)):
        with pytest.warns((RuntimeWarning, ConvergenceWarning)) as caught:
            call()
        assert [one.filename for one in caught] == [__file__]


def test_unfitted():
    for call in (lambda: model().resume(ROWS), lambda: model().save("never-written")):
        with pytest.raises(NotFittedError, match="GridLatentModel"):
            call()
