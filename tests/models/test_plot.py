"""Pictures: what is drawn are the numbers of the model, on the axes given or on a figure without a window."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pictures import drawn_on
from scipy.special import expit
from scipy.stats import multivariate_normal

import lvmfast as lvm
from lvmfast import plot
from lvmfast.distributions import MultivariateNormalTriL

x = np.linspace(-2.0, 2.0, 41)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = np.sort(rng.uniform(-2, 2, 30))[:, None]
    return X, np.sin(2 * X[:, 0]) + 0.1 * rng.standard_normal(30)


@pytest.fixture(scope="module")
def labels(data):
    return np.where(data[1] > 0, "up", "down")


@pytest.fixture(scope="module")
def gpr(data):
    return lvm.GPR(lvm.kernels.RBF(1.0, 0.7), noise_variance=0.01, optimizer=None).fit(*data)


@pytest.fixture(scope="module")
def gibbs(data, labels):
    options = {"n_samples": 40, "burn_in": 10, "n_chains": 2, "random_state": 0}
    return lvm.PolyaGammaLogisticRegression(basis=lambda X: np.hstack([X, X**2]), **options).fit(data[0], labels)


@pytest.fixture(scope="module")
def svgp(data, labels):
    return lvm.SVGP(likelihood="bernoulli", inducing=6, max_iter=20, random_state=0).fit(data[0], labels)


@pytest.fixture(scope="module")
def ratio():
    rng = np.random.default_rng(0)
    samples = rng.normal(1, 1, (60, 1)), rng.normal(0, 2, (60, 1))
    return lvm.DensityRatio(hidden=(4,), max_iter=10, early_stopping=True, random_state=0).fit(*samples)


def test_gp_of_regression(gpr, data):
    artist = drawn_on(lambda ax: plot.gp(gpr, x, ax=ax))
    mean, std = gpr.predict(x[:, None], return_std=True)
    np.testing.assert_array_equal(artist.mean.get_xydata(), np.column_stack([x, mean]))
    ends = artist.band.get_paths()[0].vertices
    for end in (mean - 2 * std, mean + 2 * std):
        distance = np.abs(ends[:, None] - np.column_stack([x, end])).sum(axis=2)
        assert distance.min(axis=0).max() < 1e-12
    np.testing.assert_array_equal(artist.data.get_xydata(), np.column_stack([data[0][:, 0], data[1]]))
    assert artist.inducing is None
    assert [t.get_text() for t in artist.axes.get_legend().get_texts()] == ["mean", "mean ± 2σ of f", "data"]


def test_gp_range_noise_and_names(gpr, data):
    artist = plot.gp(gpr, include_noise=True, label="exact", xlabel="time (s)", title="A fit")
    line = artist.mean.get_xdata()
    spread = np.ptp(data[0])
    np.testing.assert_allclose(line[[0, -1]], [data[0].min() - 0.1 * spread, data[0].max() + 0.1 * spread])
    _, std = gpr.predict(line[:, None], return_std=True, include_noise=True)
    height = artist.band.get_datalim(artist.axes.transData).height
    mean = artist.mean.get_ydata()
    assert height == pytest.approx(np.max(mean + 2 * std) - np.min(mean - 2 * std))
    assert (artist.axes.get_xlabel(), artist.axes.get_title()) == ("time (s)", "A fit")
    assert artist.band.get_label() == "exact ± 2σ of y"


def test_names_of_columns(data, labels):
    """Those of a data frame: on the axis, and no warning that numbers have none."""
    model = lvm.GPR(lvm.kernels.RBF(), optimizer=None).fit(*data)
    classifier = lvm.PolyaGammaGPClassifier(lvm.kernels.RBF(), optimize=False).fit(data[0], labels)
    for fitted in (model, classifier):
        fitted.feature_names_in_ = np.array(["time"], dtype=object)
        assert plot.gp(fitted, x).axes.get_xlabel() == "time"


def test_gp_with_inducing_inputs(data):
    model = lvm.SGPR(inducing=5, max_iter=5, random_state=0, tol=1e3).fit(*data)
    artist = drawn_on(lambda ax: plot.gp(model, data=data, ax=ax))
    np.testing.assert_array_equal(artist.inducing.get_xdata(), model.inducing_[:, 0])
    np.testing.assert_array_equal(artist.data.get_ydata(), data[1])
    assert plot.gp(model).data is None


def test_gp_of_arrays_and_of_several_models(data):
    artist = drawn_on(lambda ax: plot.gp((np.sin(x), np.full(41, 0.5)), x, inducing=[0.0, 1.0], ax=ax))
    np.testing.assert_array_equal(artist.mean.get_ydata(), np.sin(x))
    assert artist.band.get_datalim(artist.axes.transData).height == pytest.approx(2 * np.sin(np.pi / 2) + 2, abs=1e-2)
    second = plot.gp((np.cos(x), np.full(41, 0.5)), x, ax=artist.axes)
    assert second.axes is artist.axes
    assert second.mean.get_color() != artist.mean.get_color()


@pytest.mark.filterwarnings("error")
def test_one_point(gpr):
    for artist in (plot.gp(gpr, [0.5]), plot.classifier([0.2], [0.5]), plot.curves([0.5], {"f": [1.0]})):
        low, high = artist.axes.get_xlim()
        assert low < 0.5 < high


def test_data_of_two_models_is_in_the_legend_once(gpr):
    artist = plot.gp(gpr, x, ax=plot.gp(gpr, x, label="first").axes)
    assert [t.get_text() for t in artist.axes.get_legend().get_texts()].count("data") == 1


def test_power_of_ten_is_not_under_the_legend():
    artist = plot.curves(x, {"f": 1e-12 * np.cos(x)})
    artist.figure.canvas.draw()
    offset = artist.axes.yaxis.get_offset_text()
    assert offset.get_text() == "1e−12"
    assert not offset.get_window_extent().overlaps(artist.axes.get_legend().get_window_extent())


def test_part_of_a_figure(gpr):
    part = plot.new_figure()[0].subfigures(1, 2)[0]
    assert plot.gp(gpr, x, ax=part.subplots(), title="left").figure is part


def test_gp_of_classes(svgp, data, labels):
    artist = drawn_on(lambda ax: plot.gp(svgp, x, data=(data[0], labels), ax=ax))
    np.testing.assert_array_equal(artist.mean.get_ydata(), svgp.predict_proba(x[:, None])[:, 1])
    mean, variance = svgp.predict_f(x[:, None])
    high = svgp.likelihood_.predict_proba(mean + 2 * np.sqrt(variance), np.zeros(41))[:, 1]
    assert artist.band.get_paths()[0].vertices[:, 1].max() == pytest.approx(high.max())
    np.testing.assert_array_equal(artist.data[1].get_xdata(), data[0][labels == "up", 0])
    np.testing.assert_array_equal(artist.inducing.get_xdata(), svgp.inducing_[:, 0])
    assert artist.axes.get_ylabel() == "p(y = up | x)"
    model = lvm.PolyaGammaGPClassifier(lvm.kernels.RBF(), optimize=False).fit(data[0], labels)
    artist = plot.gp(model, x)
    mean, variance = model.predict_f(x[:, None])
    low = expit(mean - 2 * np.sqrt(variance))
    assert artist.band.get_paths()[0].vertices[:, 1].min() == pytest.approx(low.min())


def test_classifier_of_draws(gibbs, data, labels):
    truth = expit(x)
    artist = drawn_on(lambda ax: plot.classifier(gibbs, x, exact=expit, data=(data[0], labels), ax=ax))
    np.testing.assert_array_equal(artist.lines[0].get_ydata(), gibbs.predict_proba(x[:, None])[:, 1])
    np.testing.assert_array_equal(artist.exact.get_ydata(), truth)
    draws = gibbs.predict_proba(x[:, None], per_draw=True)[..., 1].reshape(-1, 41)
    assert artist.band.get_paths()[0].vertices[:, 1].max() == pytest.approx(np.quantile(draws, 0.975, axis=0).max())
    artist = plot.classifier(gibbs, x, n_draws=10)
    assert artist.band is None
    assert len(artist.draws.get_segments()) == 10
    np.testing.assert_array_equal(artist.draws.get_segments()[-1][:, 1], draws[-1])
    np.testing.assert_array_equal(artist.draws.get_array()[[0, 4]], [1, 40])


def test_classifier_of_arrays_and_of_three_classes(data, ratio):
    artist = drawn_on(lambda ax: plot.classifier(expit(x), x, ax=ax))
    np.testing.assert_array_equal(artist.lines[0].get_ydata(), expit(x))
    assert (artist.band, artist.data, artist.exact) == (None, None, None)
    p = plot.classifier(ratio, x).lines[0].get_ydata()
    np.testing.assert_array_equal(p, ratio.predict_proba(x[:, None])[:, 1])
    three = np.digitize(data[0][:, 0], [-0.7, 0.7])
    model = lvm.SVGP(likelihood="softmax", inducing=5, max_iter=5, random_state=0).fit(data[0], three)
    artist = plot.classifier(model, x, data=(data[0], three))
    np.testing.assert_array_equal([line.get_ydata() for line in artist.lines], model.predict_proba(x[:, None]).T)
    assert len(artist.data) == 3


def test_ratio(ratio):
    s = ratio.log_ratio(x[:, None])
    artist = drawn_on(lambda ax: plot.ratio(ratio, x, exact=lambda x: -x, ax=ax))
    np.testing.assert_array_equal(artist.lines["estimate"].get_ydata(), np.exp(s.astype(float)))
    np.testing.assert_array_equal(artist.lines["exact"].get_ydata(), np.exp(-x))
    artist = plot.ratio({"first": ratio, "second": x**2}, x, log=True)
    np.testing.assert_array_equal(artist.lines["first"].get_ydata(), s)
    np.testing.assert_array_equal(artist.lines["second"].get_ydata(), x**2)


def test_curves():
    artist = drawn_on(lambda ax: plot.curves(x, {"sine": np.sin, "square": x**2}, filled=["sine"], ax=ax))
    np.testing.assert_array_equal(artist.lines["sine"].get_ydata(), np.sin(x))
    np.testing.assert_array_equal(artist.lines["square"].get_ydata(), x**2)
    assert list(artist.areas) == ["sine"]
    looks = {(line.get_color(), line.get_linestyle()) for line in artist.lines.values()}
    assert len(looks) == 2


def test_knowledge_gradient(gpr, data):
    acquisition = lvm.bayesopt.KnowledgeGradient(gpr, [(-2.0, 2.0)], n_fantasies=8)
    best = acquisition.maximize(random_state=0)
    artist = drawn_on(lambda ax: plot.knowledge_gradient(acquisition, candidate=best, n=41, ax=ax), 2)
    np.testing.assert_array_equal(artist.values.get_xydata(), np.column_stack([x, acquisition(x[:, None])]))
    np.testing.assert_array_equal(artist.candidate.get_xydata(), [[best.x[0], best.value]])
    np.testing.assert_array_equal(artist.model.mean.get_ydata(), gpr.predict(x[:, None]))
    np.testing.assert_array_equal(artist.minimum.get_ydata(), [acquisition.predictive_minimum])
    assert artist.axes[1].get_ylabel() == "knowledge gradient"
    other = plot.knowledge_gradient(lvm.bayesopt.ExpectedImprovement(gpr, [(-2.0, 2.0)]), n=21)
    assert other.minimum is None
    assert other.values.get_ydata().max() <= other.candidate.get_ydata()[0] + 1e-9


def test_density_of_models_functions_and_arrays():
    normal = MultivariateNormalTriL(np.zeros(2), np.eye(2))
    reference = multivariate_normal(np.zeros(2), np.eye(2))
    samples = np.array([[0.0, 1.0], [1.0, -1.0]])
    artist = drawn_on(lambda ax: plot.density(normal, (-3, 3), (-2, 2), samples=samples, n=31, ax=ax))
    points = np.stack(np.meshgrid(np.linspace(-3, 3, 31), np.linspace(-2, 2, 31)), axis=-1)
    shown = np.asarray(artist.map.get_array()).reshape(31, 31)
    np.testing.assert_allclose(shown, reference.pdf(points), rtol=1e-12)
    np.testing.assert_array_equal(artist.samples.get_xydata(), samples)
    for source in (reference.logpdf, reference.logpdf(points)):
        again = plot.density(source, (-3, 3), (-2, 2), n=31)
        np.testing.assert_allclose(np.asarray(again.map.get_array()).reshape(31, 31), shown, rtol=1e-12)
    X = np.random.default_rng(0).standard_normal((60, 2))
    flow = lvm.FlowDensity(n_layers=2, hidden=(4,), max_iter=2, random_state=0).fit(X)
    shown = np.asarray(plot.density(flow, (-1, 1), (-1, 1), n=5).map.get_array()).ravel()
    grid = lvm.grids.mesh(*2 * [np.linspace(-1, 1, 5)], indexing="xy")
    np.testing.assert_allclose(shown, np.exp(flow.log_prob(grid.points)), rtol=1e-12)


def test_contours_hold_their_shares():
    # Of a normal density the region with share s has the radius sqrt(-2 log(1 - s)).
    normal = multivariate_normal(np.zeros(2), np.eye(2))
    limits = (-6, 6)
    samples = np.zeros((3, 2))
    artist = drawn_on(
        lambda ax: plot.contours(normal.logpdf, limits, limits, shares=(0.5, 0.9), samples=samples, n=300, ax=ax)
    )
    radii = sorted(np.linalg.norm(np.concatenate(lines), axis=1).mean() for lines in artist.lines.allsegs)
    np.testing.assert_allclose(radii, np.sqrt(-2 * np.log([0.5, 0.1])), rtol=0.01)
    assert len(artist.samples.get_xdata()) == 3
    assert plot.contours(normal.logpdf, limits, limits, filled=False).filled is None


def test_without_matplotlib(tmp_path):
    code = """
import sys
sys.modules["matplotlib"] = None
import lvmfast
assert "lvmfast.plot" not in sys.modules
from lvmfast import plot
try:
    plot.curves([0.0, 1.0], {})
except ImportError as error:
    assert "pip install 'lvmfast[plot]'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
