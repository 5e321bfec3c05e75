"""The command line and the demo's pictures."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lvmfast import cli
from lvmfast.demos import gplvm, polya_gamma


def test_info_names_everything(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for row in ("lvmfast", "compiler", "instruction set", "BLAS", "threads", "CUDA module", "CuPy"):
        assert row in text


def test_module_runs(tmp_path):  # elsewhere: in a clone Python would find the sources first
    command = [sys.executable, "-m", "lvmfast", "info"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "instruction set" in answer.stdout


@pytest.mark.parametrize("protocol", ["default", "reference"])
def test_demo_writes_pictures(tmp_path, capsys, protocol):
    arguments = ["demo", "gplvm", "--max-iter", "4", "--output", str(tmp_path), "--protocol", protocol]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 4
    assert all(p.stat().st_size > 10_000 for p in pictures)
    assert all(str(p) in text for p in pictures)


def test_polya_gamma_demo_writes_pictures(tmp_path, capsys):
    assert cli.main(["demo", "polya-gamma", "--n-samples", "200", "--output", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    pictures = sorted(tmp_path.glob("*.png"))
    assert [p.stem for p in pictures] == ["data", "omega", "probability", "weights"]
    assert all(p.stat().st_size > 10_000 and str(p) in text for p in pictures)
    assert "coef[2]" in text
    assert "r_hat" in text


def test_svgp_demo_writes_pictures(tmp_path, capsys):
    arguments = ["demo", "svgp", "--max-iter", "40", "--n", "2000", "--inducing", "8", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    pictures = sorted(tmp_path.glob("*.png"))
    assert [p.stem for p in pictures] == ["classification", "elbo", "minibatches", "regression"]
    assert all(p.stat().st_size > 10_000 and str(p) in text for p in pictures)
    assert "exact evidence" in text


def test_polya_gamma_demo_finds_the_truth(tmp_path):
    found = polya_gamma.run(output=tmp_path, n=20_000, n_samples=300, quiet=True)
    np.testing.assert_allclose(found["model"].coef_[0], polya_gamma.TRUTH, atol=0.06)  # four standard deviations, about
    assert found["error"] < 0.02


def test_polya_gamma_class_probability():
    np.testing.assert_allclose(
        np.log(polya_gamma.class_probability([0.5, 2.0]) / (1 - polya_gamma.class_probability([0.5, 2.0]))),
        polya_gamma.polynomial([[0.5], [2.0]]) @ polya_gamma.TRUTH,
    )


def test_demo_is_deterministic(tmp_path):
    first, second = (gplvm.run(protocol="reference", output=tmp_path, max_iter=2, quiet=True, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first["latents"], second["latents"])


def test_demo_reports_missing_data(tmp_path, capsys):
    assert cli.main(["demo", "gplvm", "--data", str(tmp_path / "nowhere"), "--output", str(tmp_path)]) == 1
    assert "nowhere" in capsys.readouterr().err
