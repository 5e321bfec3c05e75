"""The demos of density ratios, bijectors and implicit models: pictures and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from lvmfast import cli
from lvmfast.demos import bijectors, density_ratio, implicit


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


def test_numbers_of_kernels_are_not_those_of_the_text(tmp_path):
    numbers = density_ratio.run(output=tmp_path, n=200, max_iter=2, seeds=1, quiet=True)["numbers"]
    ours = {name: value for name, value in numbers.items() if "kernels" in name or "LSIF" in name or "KLIEP" in name}
    assert len(ours) == 6
    assert all(len(value.split()) == 1 for value in ours.values())


def test_banana_density(tmp_path):
    found = bijectors.run(output=tmp_path, n=200, max_iter=1, quiet=True)
    assert max(found["differences"].values()) < 1e-12
    assert found["entropy"] == pytest.approx(1 + np.log(2 * np.pi) + 0.5 * np.log(1 - 0.95**2))


def test_generator_learns_the_banana():
    # Of ten seeds the medians were at most 0.26 off; those of the first parameters are 1.5 off in the second number.
    X = bijectors.banana().sample(2000, rng=0).astype(np.float32)
    drawn = implicit.points_model(2000, 40, random_state=0).fit(X).sample(2000, rng=1)
    assert np.abs(np.median(drawn, axis=0) - np.median(X, axis=0)).max() < 0.5
