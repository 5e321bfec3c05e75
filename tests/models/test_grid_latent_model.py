"""Densities of latent grids: the text's example, quadrature, closed forms, far points, types, threads, memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import grid_latent as oracle
from scipy import stats

import lvmfast as lvm
from lvmfast.distributions import Normal

NOISE = 0.04
Z_TEXT = np.arange(-3.0, 3.0, 0.01)
X1, X2 = np.arange(-0.5, 2.5, 0.01), np.arange(-1.5, 1.5, 0.01)
ROWS = np.array([[0.9, -0.9], [0.2, 0.3], [1.3, 1.0], [-1.0, 2.0]])
EPS = np.finfo(np.float64).eps


def text_model(grid=Z_TEXT, **params):
    return lvm.GridLatentModel(oracle.curve, NOISE, grid=grid, **params)


def text_oracle(z=Z_TEXT, normalize=False):
    """F (m, 2) and log pi (m,)."""
    Z, w = oracle.cells(z)
    return oracle.curve_rows(Z), oracle.log_weights(oracle.normal_prior(Z), w, normalize)


def linear(W, mean):
    """z (m, q) -> z W' + mean."""
    return lambda z: z @ W.T + mean


def random_linear(d, q, seed=0):
    rng = np.random.default_rng(seed)
    W = np.linalg.qr(rng.standard_normal((max(d, q), max(d, q))))[0][:d, :q]
    return W, rng.standard_normal(d)


# The text's example.


@pytest.fixture(scope="module")
def picture():
    """(300, 300) densities by the text's loop over z, as meshgrid has them."""
    return oracle.mesh_density(np.meshgrid(X1, X2, sparse=True), *text_oracle(), NOISE)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_mesh_of_the_text(indexing, normalize, picture):
    """As a mesh and as scattered points."""
    mesh = lvm.grids.mesh(X1, X2, indexing=indexing)
    expected = picture if indexing == "xy" else picture.T
    mass = np.exp(oracle.log_sum_exp(text_oracle()[1]))
    expected = expected / mass if normalize else expected
    model = text_model(normalize=normalize)
    for log_density in (model.log_density(mesh), model.log_density(mesh.points)):
        assert log_density.shape == (90_000,) and log_density.dtype == np.float64
        error = np.abs(np.exp(mesh.reshape(log_density)) / expected - 1)
        assert error.max() <= 1e-12
    assert float(picture.max()) == pytest.approx(0.5561570993216) and float(mass) == pytest.approx(0.9972999823465)


def test_the_text_in_mpmath():
    F, log_pi = text_oracle()
    exact = [float(oracle.log_density_exact(x, F, log_pi, NOISE)) for x in ROWS]
    assert_near(text_model().log_density(ROWS), exact, tolerance(np.float64, 2))
    assert text_model().log_density(ROWS[:1])[0] == pytest.approx(-1.2174192687655, abs=1e-13)


def test_the_density_integrates_to_the_mass_of_the_grid():
    mesh = lvm.grids.mesh(np.arange(-1.5, 3.5, 0.05), np.arange(-2.5, 2.5, 0.05))
    for grid, normalize, mass in (
        (Z_TEXT, False, 0.9972999823465),
        (Z_TEXT, True, 1.0),
        (np.arange(-9, 9, 0.01), False, 1.0),
    ):
        model = text_model(grid, normalize=normalize)
        for log_density in (model.log_density(mesh), model.log_density(mesh.points)):
            assert np.exp(log_density).sum() * 0.05**2 == pytest.approx(mass, abs=1e-12)
    assert np.exp(text_model(None).log_density(mesh)).sum() * 0.05**2 == pytest.approx(1.0, abs=1e-8)


def test_log_likelihood():
    model = text_model()
    z = np.array([[1.8], [-0.3], [0.0], [2.0]])
    expected = [float(oracle.log_normal(x, oracle.curve_rows(one), NOISE)[0]) for x, one in zip(ROWS, z, strict=True)]
    assert_near(model.log_likelihood(ROWS, z), expected, tolerance(np.float64, 2))
    one = [float(oracle.log_normal(x, oracle.curve_rows(z[:1]), NOISE)[0]) for x in ROWS]
    assert_near(model.log_likelihood(ROWS, z[:1]), one, tolerance(np.float64, 2))
    assert one[0] == pytest.approx(-29.347673861523305)
    mesh = lvm.grids.mesh(X1[::50], X2[::50])  # a picture of the text's figure
    pdf = stats.multivariate_normal(np.ravel(oracle.curve(1.8)), NOISE).logpdf(mesh.points)
    assert_near(model.log_likelihood(mesh, [[1.8]]), pdf, tolerance(np.float64, 2))


def test_numbers_or_columns_of_f():
    """A tuple of (m,) or (m, 1) arrays, or one (m, d) array."""
    expected = text_model().log_density(ROWS)
    for f in (oracle.curve_rows, lambda z: oracle.curve(z[:, 0]), lambda z: np.hstack(oracle.curve(z))):
        model = lvm.GridLatentModel(f, NOISE, grid=Z_TEXT)
        np.testing.assert_array_equal(model.log_density(ROWS), expected)


# Rules over the latents.


@pytest.mark.parametrize("noise", [NOISE, np.array([0.5, 0.02])], ids=["number", "vector"])
def test_default_grid_is_the_integral(noise):
    expected = [oracle.log_density_by_quadrature(x, lambda z: np.array(oracle.curve(z)), noise) for x in ROWS]
    model = lvm.GridLatentModel(oracle.curve, noise)
    # the prior is cut at its quantiles 1e-9, which hold most of what makes the row (-1, 2)
    assert_near(np.exp(model.log_density(ROWS[:3])), np.exp(expected[:3]), 1e-7)


@pytest.mark.parametrize("prior", [(0.0, 1.0), (1.5, 0.3)], ids=str)
def test_gauss_hermite(prior):
    """x = (z + z^2 / 4, sin z) with noise so wide that a hundred nodes are enough."""

    def f(z):
        return z + z**2 / 4, np.sin(z)

    X, noise = np.array([[0.1, 0.5], [2.0, 1.0], [-3.0, 0.0]]), np.array([4.0, 2.0])
    expected = [oracle.log_density_by_quadrature(x, lambda z: np.array(f(z)), noise, *prior) for x in X]
    model = lvm.GridLatentModel(f, noise, prior=Normal(*prior), grid="gauss-hermite", n_grid=100)
    assert_near(model.log_density(X), expected, 1e-9)
    Z, p = oracle.hermite(7, *prior)
    seven = oracle.log_density(X, np.hstack(f(Z)), np.log(p), noise)
    assert_near(model.set_params(n_grid=7).log_density(X), seven, tolerance(np.float64, 7, 10))


def test_a_rule_of_ones_own():
    """Points and weights as given, as in Monte Carlo: w = 1 / (m p(z))."""
    rng = np.random.default_rng(0)
    Z, w = rng.standard_normal((50, 2)), rng.uniform(0.1, 1, 50)
    W, mean = random_linear(3, 2)
    X = rng.standard_normal((4, 3))
    model = lvm.GridLatentModel(linear(W, mean), 0.3, grid=(Z, w), n_components=2)
    expected = oracle.log_density(X, Z @ W.T + mean, oracle.log_weights(oracle.normal_prior(Z), w), 0.3)
    assert_near(model.log_density(X), expected, tolerance(np.float64, 50))


@pytest.mark.parametrize("prior", [Normal(1.0, 0.5), lvm.distributions.Uniform(-2.0, 3.0)], ids=repr)
def test_priors(prior):
    z = np.sort(np.random.default_rng(0).uniform(-1.9, 2.9, 40))  # cells of any width
    Z, w = oracle.cells(z)
    log_prior = np.asarray(prior.log_prob(z))
    expected = oracle.log_density(ROWS, oracle.curve_rows(Z), oracle.log_weights(log_prior, w), NOISE)
    assert_near(text_model(z, prior=prior).log_density(ROWS), expected, tolerance(np.float64, 40))


def test_cells_of_a_mesh_of_latents():
    axes = np.array([-2.0, -1.0, 0.5, 0.7, 2.0]), np.linspace(-1, 2, 7)
    Z, w = oracle.cells(*axes)
    W, mean = random_linear(2, 2)
    for indexing in ("ij", "xy"):
        mesh = lvm.grids.mesh(*axes, indexing=indexing)
        model = lvm.GridLatentModel(linear(W, mean), 0.3, grid=mesh, n_components=2)
        expected = oracle.log_density(ROWS, Z @ W.T + mean, oracle.log_weights(oracle.normal_prior(Z), w), 0.3)
        assert_near(model.log_density(ROWS), expected, tolerance(np.float64, 35))


# Linear maps: normal densities.


@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize("d", [1, 2, 3, 20, 60])
@pytest.mark.parametrize("vector", [False, True], ids=["number", "vector"])
def test_linear_maps_are_normal_densities(d, q, vector):
    W, mean = random_linear(d, q)
    noise = np.linspace(0.3, 0.6, d) if vector else 0.4
    axis = np.linspace(-8.5, 8.5, 101)
    grid = axis if q == 1 else lvm.grids.mesh(axis, axis)
    X = mean + 2 * np.random.default_rng(1).standard_normal((6, d))
    mu, C = oracle.linear_gaussian(W, mean, noise)[:2]
    model = lvm.GridLatentModel(linear(W, mean), noise, grid=grid, n_components=q)
    expected = np.atleast_1d(stats.multivariate_normal(mu, C).logpdf(X))
    assert_near(model.log_density(X), expected, tolerance(np.float64, d, 10))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_meshes_of_any_dimension(axes):
    W, mean = random_linear(axes, 1)
    model = lvm.GridLatentModel(linear(W, mean), np.linspace(0.1, 0.3, axes), grid=np.linspace(-8, 8, 201))
    mesh = lvm.grids.mesh(*(np.linspace(-2, 2, 5 + k) for k in range(axes)), indexing="xy")
    near = tolerance(np.float64, 201)
    assert_near(model.log_density(mesh), model.log_density(mesh.points), near)


# Far away.


def test_far_points():
    """No underflow: logarithms of densities that are no numbers any more; -inf only beyond the range."""
    F, log_pi = text_oracle()
    far = np.array([[10.0, 3.0], [-1e3, 0.9], [3e4, -3e4], [1e8, 1e8], [0.5, 1e150]])
    exact = [float(oracle.log_density_exact(x, F, log_pi, NOISE)) for x in far]
    assert exact[2] < -1e10
    found = text_model().log_density(far)
    for one, other in zip(found, exact, strict=True):
        assert one == pytest.approx(other, rel=tolerance(np.float64, 2))
    mesh = lvm.grids.mesh([0.5, 30.0, -1e3, 1e8], [-0.5, 1e6])
    expected = oracle.log_density(mesh.points, F, log_pi, NOISE)
    assert (np.abs(text_model().log_density(mesh) / expected - 1) < tolerance(np.float64, 2)).all()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e200])
def test_beyond_the_range_is_minus_infinity(bad):
    model = text_model()
    X = ROWS.copy()
    X[1, 0] = bad
    found = model.log_density(X)
    assert found[1] == -np.inf
    np.testing.assert_array_equal(found[[0, 2, 3]], model.log_density(ROWS)[[0, 2, 3]])
    mesh = lvm.grids.mesh([0.5, bad], [0.1, 0.2])
    np.testing.assert_array_equal(np.isneginf(model.log_density(mesh)), [False, False, True, True])
    assert model.log_likelihood([[bad, 0.0]], [[0.0]])[0] == -np.inf


# Types, threads, memory.


def test_float32():
    """Inputs in float32 count as what they are; answers have float32's digits."""
    X = ROWS.astype(np.float32)
    expected = oracle.log_density(X.astype(np.float64), *text_oracle(), NOISE)
    found = text_model().log_density(X)
    assert_near(found, expected, tolerance(np.float32, 1))
    far = np.array([[3e4, -3e4]], np.float32)
    exact = float(oracle.log_density_exact(far[0], *text_oracle(), NOISE))
    assert text_model().log_density(far)[0] == pytest.approx(exact, rel=tolerance(np.float32))
    mesh = lvm.grids.mesh(X1[::9].astype(np.float32), X2[::9].astype(np.float32))
    assert_near(text_model().log_density(mesh), text_model().log_density(mesh.points), tolerance(np.float32, 1))


@pytest.mark.parametrize("d", [16, 17, 40])
def test_float32_of_many_columns(d):
    """Where the noise is a thousandth of the data, a log density loses what rounding the rows takes, no more."""
    W, z = random_linear(d, 1)[0], np.linspace(-4, 4, 2001)
    Z, w = oracle.cells(z)
    model = lvm.GridLatentModel(linear(W, 0.0), 1e-6, grid=z)
    X = model.sample(20, rng=0).astype(np.float32)
    expected = oracle.log_density(X.astype(float), Z @ W.T, oracle.log_weights(oracle.normal_prior(Z), w), 1e-6)
    found = model.log_density(X)
    assert found.dtype == np.float32
    assert_near(found, expected, tolerance(np.float32, 1, 1e3 / np.sqrt(d)), scale=d)
    assert_near(model.transform(X), model.transform(X.astype(float)).astype(np.float32), tolerance(np.float32))


def test_threads_share_the_rows(set_num_threads):
    mesh = lvm.grids.mesh(X1[::3], X2[::3])
    answers = []
    for count in (1, 2, 3):
        set_num_threads(count)
        answers.append((text_model().log_density(mesh.points), text_model().log_density(mesh)))
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])


def test_memory_is_that_of_points_and_grid():
    """No (points x grid) array: 90,000 x 600 numbers are 432 MB."""
    mesh, model = lvm.grids.mesh(X1, X2), text_model()
    points = mesh.points
    tracemalloc.start()
    model.log_density(points)
    model.log_density(mesh)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6
