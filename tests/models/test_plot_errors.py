"""What pictures refuse: the error says the argument, the rule and what was got, and nothing is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

import lvmfast as lvm
from lvmfast import plot

x = np.linspace(-1.0, 1.0, 5)
unit = (0.0, 1.0)


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (20, 2))
    y, labels = X[:, 0] + X[:, 1], np.arange(20) % 3
    one = X[:, :1]
    return {
        "gpr": lvm.GPR(lvm.kernels.RBF(), optimizer=None).fit(one, y),
        "gpr of two inputs": lvm.GPR(lvm.kernels.RBF(), optimizer=None).fit(X, y),
        "gpr of two outputs": lvm.GPR(lvm.kernels.RBF(), optimizer=None).fit(one, X),
        "kernels": lvm.DensityRatio("ulsif", random_state=0).fit(one, one + 1),
        "gibbs": lvm.PolyaGammaLogisticRegression(n_samples=5, burn_in=0, n_chains=1).fit(one, y > 0),
        "vi": lvm.PolyaGammaLogisticRegression(method="vi").fit(one, y > 0),
        "three": lvm.SVGP(likelihood="softmax", inducing=3, max_iter=2, random_state=0).fit(one, labels),
        "vae": lvm.VAE(hidden=(2,), max_iter=1, random_state=0).fit(np.abs(X).astype(np.float32)),
    }


ERRORS = {
    "scatter: labels that are NaN": (
        lambda m, ax: plot.latent_scatter(np.eye(2), [1.0, np.nan], ax=ax),
        "labels must be no NaN",
    ),
    "scatter: words without end": (
        lambda m, ax: plot.latent_scatter(np.zeros((43, 2)), [f"kind {k}" for k in range(43)], ax=ax),
        "at most 42 kinds, got 43",
    ),
    "contours: nothing": (
        lambda m, ax: plot.contours(np.full((3, 3), -np.inf), unit, unit, ax=ax),
        "finite maximum, got -inf",
    ),
    "contours: infinite": (
        lambda m, ax: plot.contours([[0, 1], [2, np.inf]], unit, unit, ax=ax),
        "finite maximum, got inf",
    ),
    "traces: one number": (lambda m, ax: plot.traces(np.zeros((1, 5, 2)), 0), "which must hold some of 0 to 1, got 0"),
    "curves: x": (lambda m, ax: plot.curves(np.zeros((2, 2)), {}, ax=ax), "x must have shape"),
    "curves: infinite x": (lambda m, ax: plot.curves([0, np.inf], {}, ax=ax), "x must be finite, got inf"),
    "curves: values": (lambda m, ax: plot.curves(np.arange(3), {"f": np.arange(2)}, ax=ax), "'f' must have shape"),
    "curves: filled": (lambda m, ax: plot.curves(x, {"f": np.exp}, filled=("g",), ax=ax), "filled must name"),
    "ratio: values": (lambda m, ax: plot.ratio(np.zeros(4), x, ax=ax), "'estimate' must have shape"),
    "classifier: values": (lambda m, ax: plot.classifier(np.zeros(4), x, ax=ax), "probabilities must have shape"),
    "classifier: exact": (lambda m, ax: plot.classifier(x, x, exact=x[1:], ax=ax), "exact must have shape"),
    "classifier: data": (lambda m, ax: plot.classifier(x, x, data=(x, x[1:]), ax=ax), "data must be"),
    "classifier: labels": (lambda m, ax: plot.classifier(x, x, data=(x, x), ax=ax), "data must have labels among"),
    "classifier: draws": (lambda m, ax: plot.classifier(m["vi"], x, n_draws=3, ax=ax), "n_draws must be 0"),
    "contours: shares": (lambda m, ax: plot.contours(np.sum, unit, unit, shares=(0.5, 1.0), ax=ax), "shares must lie"),
    "contours: values": (lambda m, ax: plot.contours(lambda p: p, unit, unit, n=5, ax=ax), "one number for each of 25"),
    "contours: NaN": (lambda m, ax: plot.contours(lambda p: p[:, 0] * np.nan, unit, unit, n=5, ax=ax), "got NaN"),
    "density: array": (lambda m, ax: plot.density(x, unit, unit, ax=ax), r"must have shape \(k, l\)"),
    "density: limits": (lambda m, ax: plot.density(np.sum, (1, 0), unit, ax=ax), "xlim must be"),
    "density: samples": (
        lambda m, ax: plot.density(multivariate_normal([0, 0]).logpdf, unit, unit, samples=x, ax=ax),
        "samples must have shape",
    ),
    "gp: two inputs": (lambda m, ax: plot.gp(m["gpr of two inputs"], ax=ax), "must have one input, got 2"),
    "gp: two outputs": (lambda m, ax: plot.gp(m["gpr of two outputs"], ax=ax), "must have one output, got 2"),
    "gp: three classes": (lambda m, ax: plot.gp(m["three"], ax=ax), "must have two classes, got 3"),
    "gp: arrays without x": (lambda m, ax: plot.gp((x, x), ax=ax), "x must have shape"),
    "gp: arrays": (lambda m, ax: plot.gp((x, x[1:]), x, ax=ax), "mean and std must have shape"),
    "gp: data": (lambda m, ax: plot.gp(m["gpr"], data=(x, x[1:]), ax=ax), "y of data must have shape"),
    "scatter: latents": (lambda m, ax: plot.latent_scatter(np.zeros((3, 1)), ax=ax), "latents must have shape"),
    "scatter: labels": (lambda m, ax: plot.latent_scatter(np.zeros((3, 2)), [1, 2], ax=ax), "labels must have shape"),
    "scatter: components": (
        lambda m, ax: plot.latent_scatter(np.zeros((3, 2)), components=(0, 2), ax=ax),
        "components must be two of the 2 latents",
    ),
    "scatter: no rows": (lambda m, ax: plot.latent_scatter(m["vae"], ax=ax), "data must be given for VAE"),
    "images: shape": (lambda m, ax: plot.image_grid(np.zeros((3, 2)), ax=ax), "images must have shape"),
    "images: limits": (lambda m, ax: plot.image_grid(np.zeros((1, 1, 2, 2)), limits=(1, 1), ax=ax), "limits must be"),
    "manifold: no squares": (lambda m, ax: plot.manifold(m["vae"], ax=ax), "image_shape must be given"),
    "manifold: shape": (lambda m, ax: plot.manifold(m["vae"], None, (2, 2), ax=ax), "image_shape must hold the 2"),
    "manifold: one axis": (lambda m, ax: plot.manifold(np.abs, lvm.grids.mesh(x), ax=ax), "grid must have two axes"),
    "manifold: falling": (
        lambda m, ax: plot.manifold(np.abs, lvm.grids.mesh(-x, x), ax=ax),
        "grid must have two axes, each rising",
    ),
    "manifold: images alone": (lambda m, ax: plot.manifold(np.zeros((4, 4)), ax=ax), "grid must be given"),
    "loss: exact": (lambda m, ax: plot.loss_curve(m["gpr"], ax=ax), "GPR keeps no curve of this fit"),
    "loss: kernels": (lambda m, ax: plot.loss_curve(m["kernels"], ax=ax), "DensityRatio keeps no curve"),
    "loss: sampled": (lambda m, ax: plot.loss_curve(m["gibbs"], ax=ax), "use lvmfast.plot.traces"),
    "loss: quantity": (lambda m, ax: plot.loss_curve(m["vae"], "elbo", ax=ax), "quantity must be one of"),
    "loss: array": (lambda m, ax: plot.loss_curve(np.zeros((2, 2)), ax=ax), "losses must have shape"),
    "loss: of an array": (lambda m, ax: plot.loss_curve(x, "kl", ax=ax), "quantity must be None"),
    "traces: vi": (lambda m, ax: plot.traces(m["vi"], ax=ax), "has no draws of coefficients"),
    "traces: axes": (lambda m, ax: plot.traces(m["gibbs"], ax=ax), "ax must be 2 x 1 matplotlib axes"),
    "traces: which": (lambda m, ax: plot.traces(m["gibbs"], which=[2], ax=ax), "which must hold some of 0 to 1"),
    "pairs: array": (lambda m, ax: plot.pairs(np.zeros((2, 3)), ax=ax), "draws must have shape"),
    "pairs: truth": (lambda m, ax: plot.pairs(m["gibbs"], truth=[1.0], ax=ax), "truth must have shape"),
    "gradient: two inputs": (
        lambda m, ax: plot.knowledge_gradient(
            lvm.bayesopt.ExpectedImprovement(m["gpr of two inputs"], [unit, unit]), ax=ax
        ),
        "must have one input",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(models, name):
    call, message = ERRORS[name]
    _, ax = plot.new_figure()
    with pytest.raises(ValueError, match=message):
        call(models, ax)
    assert not ax.lines and not ax.collections and not ax.images


@pytest.mark.parametrize(
    "call",
    [
        lambda: plot.gp(object()),
        lambda: plot.gp(LinearRegression()),
        lambda: plot.ratio(LinearRegression(), x),
        lambda: plot.classifier(LinearRegression(), x),
        lambda: plot.density(LinearRegression(), unit, unit),
        lambda: plot.manifold(LinearRegression(), lvm.grids.prior_grid(2)),
        lambda: plot.manifold(np.abs, np.zeros((4, 2))),
        lambda: plot.knowledge_gradient(np.abs),
        lambda: plot.loss_curve([1.0], ax=[1, 2]),
    ],
)
def test_other_types(call):
    with pytest.raises(TypeError, match="must (be|have) .*got [A-Za-z]+"):
        call()


@pytest.mark.parametrize("function", [plot.gp, plot.latent_scatter, plot.loss_curve, plot.traces, plot.pairs])
def test_unfitted(function):
    models = {plot.gp: lvm.GPR(), plot.latent_scatter: lvm.GPLVM(), plot.loss_curve: lvm.VAE()}
    with pytest.raises(NotFittedError):
        function(models.get(function, lvm.PolyaGammaLogisticRegression()))
