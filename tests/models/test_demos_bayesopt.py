"""The demo of the knowledge gradient: pictures and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from lvmfast import cli
from lvmfast.bayesopt import minimize
from lvmfast.demos import knowledge_gradient


@pytest.mark.parametrize("name", ["n", "n-calls"])
def test_demo_reports_too_few(tmp_path, capsys, name):
    assert cli.main(["demo", "knowledge-gradient", f"--{name}", "1", "--quiet", "--output", str(tmp_path)]) == 1
    assert f"{name.replace('-', '_')} must be" in capsys.readouterr().err


def test_simulations_average_to_the_knowledge_gradient(tmp_path):
    # The mean over outcomes drawn is the exact one over a dense grid, within three standard errors.
    found = knowledge_gradient.run(output=tmp_path, n_calls=5, quiet=True)
    gains, exact = found["gains"], found["exact"]
    assert abs(gains.mean() - exact) < 3 * gains.std() / len(gains) ** 0.5
    assert found["history"]["regret"][-1] >= 0


def test_the_last_model_is_in_the_units_of_f():
    """Also where its outputs were standardised before the last observations came."""
    options = {"n_calls": 39, "acquisition": "log-ei", "random_state": 0}
    result = minimize(lambda x: 3.0 + knowledge_gradient.f(x[0]), [(-1.0, 2.0)], **options)
    mean, std = knowledge_gradient.last_model(result, [result.x_model[0], 1.9])
    assert mean[0] == pytest.approx(result.fun_model, rel=1e-12) and 0 < std.max() < 1


def test_true_minimum():
    # 3 cos 3x + 2x - 0.7 = 0, by mpmath's findroot with 30 digits
    x, value = knowledge_gradient.true_minimum()
    assert x == pytest.approx(-0.359394498600553329, abs=1e-14)
    assert value == pytest.approx(-0.500359627666571009, abs=1e-14)
    grid = np.linspace(*knowledge_gradient.BOUNDS[0], 100_001)
    assert knowledge_gradient.f(grid).min() >= value
