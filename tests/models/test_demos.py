"""Every demo, with small settings: numbers, pictures, and the texts that they walk through."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from lvmfast import cli, datasets
from lvmfast.demos import _registry, _report

TEXTS = {
    "A Handbook for Sparse Variational Gaussian Processes",
    "A Primer on Pólya-gamma Random Variables - Part II: Bayesian Logistic Regression",
    "A Tutorial on Variational Autoencoders with a Concise Keras Implementation",
    "An Illustrated Guide to the Knowledge Gradient Acquisition Function",
    "Building Probability Distributions with the TensorFlow Probability Bijector API",
    "Density Ratio Estimation for KL Divergence Minimization between Implicit Distributions",
    "Efficient Cholesky decomposition of low-rank updates",
    "Gaussian Process Latent Variable Models (TensorFlow Probability)",
    "Latent variable models, part 2: Stochastic variational inference and variational autoencoders",
    "Notebook 17.1: Latent variable models",
    "NumPy mgrid vs. meshgrid",
    "VAE Implementation for Nonlinear Latent Variable Modeling",
}
DIGITS = "latents loss manifold reconstructions"
WALK = "after before five-simulated five-simulated-minima function knowledge-gradient loop one-simulated"
SMALL = {  # settings, pictures, words in what is printed
    "bijectors": ("--n 300 --max-iter 2", "densities flows loss samples", ["RealNVP", "MAF", "-1.6739"]),
    "cholesky-updates": (
        "--n 64 --m 4 --updates 60",
        "times-by-rank times-by-size wear",
        ["14 decimals", "NotPositiveDefiniteError"],
    ),
    "density-ratio": (
        "--n 300 --max-iter 20",
        "classifier densities kernels loss ratio",
        ["0.44314718", "0.4571", "KLIEP", "1.1299"],
    ),
    "gplvm": ("--max-iter 4", "after before loss samples", ["2.8489", "1108.1217"]),
    "implicit": ("--max-iter 2 --data", "digits history points points-history", ["68,673, 10,065", "classifier"]),
    "knowledge-gradient": (
        "--n-calls 6",
        f"{WALK} one-simulated-minima predictive-minimum regret",
        ["-0.5003596277 at -0.3593944"],
    ),
    "latent-grid": ("--n 60 --n-samples 50", "density likelihood posterior prior samples", ["0.9973", "mode 1"]),
    "mesh-grids": ("--n 64", "arrays cost surface", ["5x1, 1x3", "the text's 15 numbers"]),
    "polya-gamma": ("--n-samples 200", "data omega probability weights", ["R-hat", "-0.3750"]),
    "svgp": (
        "--max-iter 40 --n 2000 --inducing 8",
        "classification elbo minibatches regression",
        ["exact evidence", "natural gradients"],
    ),
    "vae-conv": ("--max-iter 2 --data", DIGITS, ["494,244, 56,385", "-158.25", "importance-weighted"]),
    "vae-dense": ("--max-iter 2 --protocol reference --data", DIGITS, ["201,988, 202,256", "importance-weighted"]),
    "vae-factor": (
        "--max-iter 3",
        "codes curves loss noise reconstruction",
        ["30,502, 45,600  30,502, 45,600", "importance-weighted"],
    ),
}


@pytest.fixture
def few_digits(tmp_path):
    digits = datasets.load_mnist_sample()
    path = tmp_path / "digits.npz"
    np.savez(path, images=digits.images[:50], labels=digits.target[:50])
    return str(path)


def test_every_text_has_a_demo():
    assert {module.DEMO.reference for module in _registry.modules().values()} == TEXTS


@pytest.mark.parametrize("name", _registry.modules())
def test_demo_prints_numbers_and_writes_pictures(tmp_path, few_digits, capsys, name):
    assert name in SMALL, f"add small settings for the new demo {name}"
    options, names, words = SMALL[name]
    output = tmp_path / "pictures"
    data = [few_digits] if options.endswith("--data") else []
    assert cli.main(["demo", name, *options.split(), *data, "--output", str(output)]) == 0
    text = capsys.readouterr().out
    pictures = sorted(output.iterdir())
    assert [path.name for path in pictures] == sorted(f"{stem}.png" for stem in names.split())
    for path in pictures:
        assert f"wrote {path}\n" in text
        assert imread(path)[..., :3].std() > 0.02  # not blank
    assert text.splitlines()[-1] == f"{len(pictures)} pictures in {output}"
    assert not [word for word in words if word not in text]


@pytest.mark.parametrize("name", _registry.modules())
def test_demo_is_quiet(tmp_path, few_digits, capfd, monkeypatch, name):
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: None)  # drawing takes most of the time
    options = SMALL[name][0]
    data = [few_digits] if options.endswith("--data") else []
    assert cli.main(["demo", name, *options.split(), *data, "--quiet", "--output", str(tmp_path)]) == 0
    assert capfd.readouterr() == ("", "")


def test_what_is_here_stands_beside_the_text():
    assert _report.aligned({"loss": ("1.25", "1.5"), "headline": "", "time, alone": "3 s"}) == [
        "             here  the text",
        "loss         1.25  1.5",
        "headline",
        "time, alone  3 s",
    ]
    assert _report.aligned({"a": "1", "bc": "2"}) == ["a   1", "bc  2"]


@pytest.mark.parametrize(
    ("value", "words"), [(12.34, "12.3 s"), (0.0123, "12.3 ms"), (4.56e-6, "4.56 µs"), (1.2e-8, "0.012 µs")]
)
def test_seconds(value, words):
    assert _report.seconds(value) == words
