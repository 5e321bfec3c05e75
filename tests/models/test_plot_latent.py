"""Pictures of latents, fits, chains and posteriors: what is drawn are the numbers of the model."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pictures import drawn_on
from sklearn.exceptions import ConvergenceWarning

import lvmfast as lvm
from lvmfast import plot


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).uniform(size=(40, 9)).astype(np.float32)


@pytest.fixture(scope="module")
def gplvm(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return lvm.GPLVM(2, max_iter=5).fit(rows)


@pytest.fixture(scope="module")
def vae(rows):
    return lvm.VAE(hidden=(4,), max_iter=3, batch_size=10, random_state=0).fit(rows[:30], validation_data=rows[30:])


@pytest.fixture(scope="module")
def gibbs():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    y = X[:, 0] + rng.logistic(size=40) > 0
    return lvm.PolyaGammaLogisticRegression(n_samples=30, burn_in=5, n_chains=2, random_state=0).fit(X, y)


def test_latent_scatter(gplvm, vae, rows):
    labels = np.arange(40) % 3
    artist = drawn_on(lambda ax: plot.latent_scatter(gplvm, labels, title="Map", ax=ax))
    assert artist.labels == (0, 1, 2)
    for k, points in enumerate(artist.points):
        np.testing.assert_array_equal(points.get_offsets(), gplvm.embedding_[labels == k])
    assert artist.axes.get_title() == "Map"
    (points,) = plot.latent_scatter(vae, data=rows).points
    np.testing.assert_array_equal(points.get_offsets(), vae.transform(rows))
    X = np.arange(12.0).reshape(4, 3)
    artist = plot.latent_scatter(X, components=(2, 0))
    np.testing.assert_array_equal(artist.points[0].get_offsets(), X[:, [2, 0]])
    assert (artist.axes.get_xlabel(), artist.axes.get_ylabel()) == ("latent 3", "latent 1")


def test_labels_are_told_apart():
    artist = plot.latent_scatter(np.random.default_rng(0).normal(size=(20, 2)), np.arange(20))
    looks = {(tuple(p.get_facecolor()[0]), p.get_paths()[0].vertices.tobytes()) for p in artist.points}
    assert len(looks) == 20


@pytest.mark.filterwarnings("error")  # of a layout without room
def test_many_labels(rng):
    X = rng.standard_normal((300, 2))
    artist = plot.latent_scatter(X, X[:, 0])
    assert artist.labels == ()
    np.testing.assert_array_equal(artist.points[0].get_array(), X[:, 0])
    artist.figure.canvas.draw()
    some = plot.latent_scatter(X, np.arange(300) % 42)
    assert some.labels == tuple(range(42))
    some.figure.canvas.draw()
    assert some.axes.get_window_extent().width > 200
    assert plot.latent_scatter(np.empty((0, 2)), []).points == ()


def test_image_grid_places_tiles():
    images = np.zeros((2, 3, 4, 5))
    images[0, 2, 0, 0] = 1.0  # one dark pixel at the top left of the tile in row 0, column 2
    artist = drawn_on(lambda ax: plot.image_grid(images, title="Tiles", ax=ax))
    shown = np.asarray(artist.get_array())
    assert shown.shape == (8, 15)
    assert np.argwhere(shown).tolist() == [[0, 10]]


def test_image_grid_limits():
    images = np.full((1, 2, 2, 2), 0.25)
    images[0, 1] = 2.0
    shown = np.asarray(plot.image_grid(images, limits=(0, 1)).get_array())
    np.testing.assert_allclose(shown, [[0.25, 0.25, 1, 1]] * 2)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_manifold_puts_images_at_their_latents(indexing):
    grid = lvm.grids.mesh(np.array([0.0, 0.1, 0.2]), np.array([0.5, 0.9]), indexing=indexing)
    artist = drawn_on(
        lambda ax: plot.manifold(lambda z: z.sum(axis=1)[:, None], grid, (1, 1), limits=(0, 2), ax=ax),
    )
    np.testing.assert_allclose(artist.get_array(), np.array([[0.9, 1.0, 1.1], [0.5, 0.6, 0.7]]) / 2)
    axes = artist.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "0.1", "0.2"]
    places = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert places == {"0.5": 1.5, "0.9": 0.5}  # rows count from the top
    again = plot.manifold(grid.points.sum(axis=1)[:, None], grid, limits=(0, 2))
    np.testing.assert_array_equal(again.get_array(), artist.get_array())


def test_manifold_of_models(gplvm, vae):
    grid = lvm.grids.prior_grid(3)
    shown = np.asarray(plot.manifold(vae, grid).get_array())
    decoded = vae.inverse_transform(grid.points.astype(np.float32))
    np.testing.assert_allclose(shown[:3, :3], decoded[2].reshape(3, 3), rtol=1e-6)  # the greatest second latent
    np.testing.assert_allclose(shown[6:, 6:], decoded[6].reshape(3, 3), rtol=1e-6)
    assert np.shape(plot.manifold(gplvm).get_array()) == (45, 45)
    images = lvm.ImplicitModel(n_components=2, hidden=(4,), ratio_hidden=(4,), max_iter=1, random_state=0)
    images.fit(np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32))
    assert np.shape(plot.manifold(images, grid, (2, 3)).get_array()) == (6, 9)


def lines(artist):
    """Numbers of a loss curve: those fitted, those held out, both labels."""
    held_out = None if artist.held_out is None else artist.held_out.get_xydata()
    return artist.line.get_xydata(), held_out, artist.axes.get_xlabel(), artist.axes.get_ylabel()


def test_loss_curve_of_epochs(vae, rows):
    fitted, held_out, xlabel, ylabel = lines(drawn_on(lambda ax: plot.loss_curve(vae, ax=ax)))
    np.testing.assert_array_equal(fitted, np.column_stack([[1, 2, 3], vae.history_["loss"]]))
    np.testing.assert_array_equal(held_out, np.column_stack([[1, 2, 3], vae.history_["val_loss"]]))
    assert (xlabel, ylabel) == ("epoch", "$-$ELBO (nats a row)")
    np.testing.assert_array_equal(plot.loss_curve(vae, "kl").line.get_ydata(), vae.history_["kl"])
    steps = plot.loss_curve(vae, "steps").line.get_xydata()
    np.testing.assert_array_equal(steps, np.column_stack([np.arange(1, 10), vae.loss_curve_]))
    flow = lvm.FlowDensity(n_layers=2, hidden=(4,), max_iter=2, random_state=0).fit(rows[:, :2])
    np.testing.assert_array_equal(plot.loss_curve(flow).line.get_ydata(), flow.history_["loss"])
    points = lvm.ImplicitModel(n_components=2, hidden=(4,), ratio_hidden=(4,), max_iter=2, random_state=0)
    points.fit(rows[:, :2])
    np.testing.assert_array_equal(plot.loss_curve(points).line.get_ydata(), points.history_["ratio_loss"])
    artist = plot.loss_curve(points, "bound")
    np.testing.assert_array_equal(artist.line.get_ydata(), points.history_["bound"])
    assert artist.axes.get_ylabel() == "lower bound of JS(p, q) (nats)"


def test_loss_curve_of_gaussian_processes(gplvm, rows):
    X, y = rows[:, :1].astype(float), rows[:, 1].astype(float)
    np.testing.assert_array_equal(plot.loss_curve(gplvm).line.get_ydata(), gplvm.loss_curve_)
    sgpr = lvm.SGPR(inducing=4, random_state=0).fit(X, y)
    artist = plot.loss_curve(sgpr)
    np.testing.assert_array_equal(artist.line.get_ydata(), sgpr.loss_curve_)
    assert artist.axes.get_ylabel() == "$-$lower bound of log p(y) per value of y (nats)"
    options = {"inducing": 4, "max_iter": 6, "early_stopping": True, "eval_every": 2, "random_state": 0}
    svgp = lvm.SVGP(**options).fit(X, y)
    np.testing.assert_array_equal(plot.loss_curve(svgp).line.get_ydata(), svgp.elbo_curve_)
    checks = plot.loss_curve(svgp, "validation").line.get_xydata()
    np.testing.assert_array_equal(checks, np.column_stack([[2, 4, 6], svgp.validation_curve_]))
    classifier = lvm.PolyaGammaGPClassifier(lvm.kernels.RBF(), optimize=False).fit(X, y > 0.5)
    np.testing.assert_array_equal(plot.loss_curve(classifier).line.get_ydata(), classifier.lower_bounds_)
    logistic = lvm.PolyaGammaLogisticRegression(method="vi").fit(X, y > 0.5)
    artist = plot.loss_curve(logistic)
    np.testing.assert_array_equal(artist.line.get_ydata(), logistic.lower_bounds_)
    assert artist.axes.get_ylabel() == "lower bound of log p(y) (nats)"


def test_loss_curve_of_ratios_and_arrays():
    rng = np.random.default_rng(0)
    samples = rng.normal(1, 1, (60, 1)), rng.normal(0, 2, (60, 1))
    options = {"hidden": (4,), "max_iter": 4, "early_stopping": True, "random_state": 0}
    model = lvm.DensityRatio(batch_size=60, **options).fit(*samples)
    fitted, held_out, xlabel, _ = lines(plot.loss_curve(model))
    np.testing.assert_array_equal(fitted[:, 1], model.loss_curve_)
    np.testing.assert_array_equal(held_out[:, 1], model.validation_loss_)
    np.testing.assert_allclose(held_out[:, 0], len(model.loss_curve_) / 4 * np.arange(1, 5))
    assert xlabel == "step"
    first = plot.loss_curve([3.0, 2.0], label="first", ylabel="loss (nats)")
    second = plot.loss_curve(np.array([2.0, 1.0]), label="second", ax=first.axes)
    np.testing.assert_array_equal(second.line.get_xydata(), [[1, 2], [2, 1]])
    assert first.line.get_color() != second.line.get_color()
    assert [t.get_text() for t in first.axes.get_legend().get_texts()] == ["first", "second"]


def test_traces(gibbs):
    artist = drawn_on(lambda ax: plot.traces(gibbs, truth=[1, 0, 0], ax=ax), 3)
    for k in range(2):
        for chain, line in enumerate(artist.lines[k]):
            np.testing.assert_array_equal(line.get_ydata(), gibbs.coef_draws_[chain, :, k])
    np.testing.assert_array_equal(artist.lines[2][1].get_ydata(), gibbs.intercept_draws_[1])
    assert [ax.get_ylabel() for ax in artist.axes] == ["coef[0]", "coef[1]", "intercept"]
    expected = rf"$\hat R$ = {gibbs.r_hat_[0]:.3f}, ESS = {gibbs.ess_[0]:.0f}"
    assert artist.axes[0].get_title(loc="right") == expected
    draws = np.random.default_rng(0).normal(size=(1, 3, 2))
    artist = plot.traces(draws, which=[1], title="Too few for R-hat")
    np.testing.assert_array_equal(artist.lines[0][0].get_xydata(), np.column_stack([[1, 2, 3], draws[0, :, 1]]))


def test_pairs(gibbs):
    artist = drawn_on(lambda ax: plot.pairs(gibbs, which=[0, 2], truth=[1.0, 0.0], ax=ax), (2, 2))
    draws = np.stack([gibbs.coef_draws_[:, :, 0], gibbs.intercept_draws_], axis=-1).reshape(-1, 2)
    np.testing.assert_array_equal(artist.points[1, 0].get_offsets(), draws)
    np.testing.assert_array_equal(artist.points[1, 0].get_array(), np.tile(np.arange(1, 31), 2))
    assert sum(bar.get_height() for bar in artist.histograms[1]) == 60
    assert artist.axes[0, 1] is None
    one = plot.pairs(np.random.default_rng(0).normal(size=(2, 10, 1)))
    assert (one.points, len(one.histograms)) == ({}, 1)
