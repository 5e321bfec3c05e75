"""The demos of density ratios, bijectors and implicit models: pictures and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from lvmfast import cli, datasets
from lvmfast.demos import bijectors, density_ratio, implicit

CASES = {
    "density-ratio": (
        ["--n", "300", "--max-iter", "20"],
        ["classifier", "densities", "kernels", "loss", "ratio"],
        ["0.443147", "KLIEP", "1.1299"],
    ),
    "bijectors": (
        ["--n", "300", "--max-iter", "2"],
        ["densities", "flows", "loss", "samples"],
        ["RealNVP", "MAF", "-1.6739"],
    ),
    "implicit": (
        ["--max-iter", "2"],
        ["digits", "history", "points-history", "points"],
        ["68,673, 10,065", "classifier"],
    ),
}


@pytest.fixture
def few_digits(tmp_path):
    digits = datasets.load_mnist_sample()
    path = tmp_path / "digits.npz"
    np.savez(path, images=digits.images[:50], labels=digits.target[:50])
    return path


@pytest.mark.parametrize("name", CASES)
def test_demo_writes_pictures(tmp_path, few_digits, capsys, name):
    options, names, words = CASES[name]
    output = tmp_path / "pictures"
    data = ["--data", str(few_digits)] if name == "implicit" else []
    assert cli.main(["demo", name, *options, *data, "--output", str(output)]) == 0
    text = capsys.readouterr().out
    pictures = sorted(output.glob("*.png"), key=lambda p: p.stem)
    assert [p.stem for p in pictures] == sorted(names)
    assert all(p.stat().st_size > 5000 and str(p) in text for p in pictures)
    assert text.splitlines()[-1] == f"{len(names)} pictures in {output}"
    assert all(word in text for word in words)


def test_demo_reports_missing_data(tmp_path, capsys):
    missing = str(tmp_path / "nowhere")
    assert cli.main(["demo", "implicit", "--data", missing, "--output", str(tmp_path)]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_ratio_of_the_text():
    # Of 20 seeds the estimates had mean 0.458 and standard deviation 0.034, the losses' differences at most 0.0033.
    X_p, X_q, _, _ = density_ratio.samples(2000, 0)
    model = density_ratio.classifier(500, 0).fit(X_p, X_q)
    assert abs(model.divergence("kl") - 0.443147180559945) < 0.2
    assert abs(model.loss_curve_[-1] - density_ratio.exact_loss(X_p, X_q)) < 0.01
    assert density_ratio.least_loss() == pytest.approx(2 * 0.564972208, abs=2e-9)
    x = np.array([-2.0, 0.5, 3.0])
    np.testing.assert_allclose(density_ratio.log_ratio(x), np.log(2) - (x - 1) ** 2 / 2 + x**2 / 8, rtol=1e-13)


def test_banana_density(tmp_path):
    found = bijectors.run(output=tmp_path, n=200, max_iter=1, quiet=True)
    assert max(found["differences"].values()) < 1e-12
    assert found["entropy"] == pytest.approx(1 + np.log(2 * np.pi) + 0.5 * np.log(1 - 0.95**2))


def test_generator_learns_the_banana():
    # Of ten seeds the medians were at most 0.26 off; those of the first parameters are 1.5 off in the second number.
    X = bijectors.banana().sample(2000, rng=0).astype(np.float32)
    drawn = implicit.points_model(2000, 40, random_state=0).fit(X).sample(2000, rng=1)
    assert np.abs(np.median(drawn, axis=0) - np.median(X, axis=0)).max() < 0.5
