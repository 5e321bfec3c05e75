"""The command line and the demo's pictures."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from lvmfast import _bench, cli, plot
from lvmfast.demos import _registry, gplvm, polya_gamma


def test_info_names_everything(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for row in ("lvmfast", "compiler", "instruction set", "BLAS", "threads", "CUDA module", "CuPy"):
        assert row in text


def test_module_runs(tmp_path):  # elsewhere: in a clone Python would find the sources first
    command = [sys.executable, "-m", "lvmfast", "info"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "instruction set" in answer.stdout


def test_demo_lists_all(capsys):
    assert cli.main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, module in _registry.modules().items():
        shown = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(shown) == 2
        assert shown[0].endswith(f"{module.DEMO.seconds} s  {module.DEMO.summary}")
        assert shown[1].endswith(f"  {module.DEMO.reference}")
        assert 0 < module.DEMO.seconds <= 60


def test_listing_needs_no_matplotlib(tmp_path):
    code = "import sys; from lvmfast import cli; cli.main(['demo']); assert 'matplotlib' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code + "; assert 'sklearn.datasets' not in sys.modules"], check=True, cwd=tmp_path
    )


def test_demo_has_the_defaults_of_its_function(capsys):
    for name, module in _registry.modules().items():
        arguments = vars(cli.build_parser().parse_args(["demo", name]))
        assert arguments.pop("function") is _registry.run
        assert arguments.pop("module") is module
        assert arguments.pop("output") == f"lvmfast-demo/{name}"
        options = inspect.signature(module.run).parameters
        assert arguments.items() <= {k: o.default for k, o in options.items()}.items()
        assert ("seed" in arguments) == ("seed" in options)
        assert arguments["quiet"] is False


@pytest.fixture
def three_demos(monkeypatch):
    """One that works, one that fails, and another that works; what they were called with."""
    plot.new_figure()  # imports matplotlib, which takes time
    calls = []

    def module(name, error=None):
        def run(*, output, seed=0, quiet=False, n=7):
            calls.append((name, str(output), seed, quiet, n))
            if error is not None:
                raise error

        return SimpleNamespace(DEMO=_registry.Demo(f"what {name} shows", "a text", 1), run=run)

    demos = {"first": module("first"), "second": module("second", KeyError("x")), "third": module("third")}
    monkeypatch.setattr(_registry, "modules", lambda: demos)
    return calls


def test_all_demos_run_though_one_fails(three_demos, tmp_path, capsys):
    assert cli.main(["demo", "all", "--output", str(tmp_path), "--seed", "3"]) == 1
    out, err = capsys.readouterr()
    assert three_demos == [(name, str(tmp_path / name), 3, False, 7) for name in ("first", "second", "third")]
    assert err == "lvmfast: second: KeyError: 'x'\n"
    for line in ("first: 0.0 s", "second: 0.0 s, failed", "third: 0.0 s", "== third: what third shows"):
        assert line in out.splitlines()
    assert out.splitlines()[-1] == f"2 of 3 demos in 0 s, pictures in {tmp_path}; failed: second"


@pytest.mark.parametrize("name", ["first", "all"])
def test_demos_fail_before_the_work(three_demos, tmp_path, capsys, monkeypatch, name):
    """Where pictures cannot be written, or drawn."""
    (tmp_path / "file").touch()
    assert cli.main(["demo", name, "--output", str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["demo", name, "--output", str(tmp_path / "folder")]) == 1
    assert "pip install 'lvmfast[plot]'" in capsys.readouterr().err
    assert three_demos == []


@pytest.mark.parametrize("arguments", [["demo", "first"], ["demo", "all"], ["bench", "--list"]])
def test_control_c(three_demos, tmp_path, capsys, monkeypatch, arguments):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_registry.modules()["first"], "run", interrupted)
    monkeypatch.setattr(_bench, "table", interrupted)
    assert cli.main(arguments) == 130
    assert capsys.readouterr().err == "lvmfast: interrupted\n"
    assert three_demos == []


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe of POSIX")
def test_a_reader_that_has_had_enough(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "lvmfast", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1
    process.stderr.close()


def test_all_demos_run_quietly(three_demos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demos = _registry.modules()
    del demos["second"]
    assert cli.main(["demo", "all", "--quiet"]) == 0
    assert [call[1:4] for call in three_demos] == [(f"lvmfast-demo/{name}", 0, True) for name in ("first", "third")]
    out, err = capsys.readouterr()
    assert out.splitlines() == ["first: 0.0 s", "third: 0.0 s", "2 of 2 demos in 0 s, pictures in lvmfast-demo"]
    assert err == ""


def test_unknown_demo(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "gplmv"])
    assert "invalid choice: 'gplmv'" in capsys.readouterr().err


def test_reference_protocol(tmp_path, capsys):
    assert cli.main(["demo", "gplvm", "--max-iter", "4", "--output", str(tmp_path), "--protocol", "reference"]) == 0
    names = ["reference-after.png", "reference-before.png", "reference-loss.png", "reference-samples.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert "amplitude" in capsys.readouterr().out


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures are made, not drawn, which would take most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: None)


def test_polya_gamma_demo_finds_the_truth(tmp_path, undrawn):
    found = polya_gamma.run(output=tmp_path, n=20_000, n_samples=300, quiet=True)
    np.testing.assert_allclose(found["model"].coef_[0], polya_gamma.TRUTH, atol=0.06)  # four standard deviations, about
    assert found["error"] < 0.02


def test_polya_gamma_class_probability():
    np.testing.assert_allclose(
        np.log(polya_gamma.class_probability([0.5, 2.0]) / (1 - polya_gamma.class_probability([0.5, 2.0]))),
        polya_gamma.polynomial([[0.5], [2.0]]) @ polya_gamma.TRUTH,
    )


def test_demo_is_deterministic(tmp_path, undrawn):
    first, second = (gplvm.run(protocol="reference", output=tmp_path, max_iter=2, quiet=True, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first["latents"], second["latents"])


def test_demo_reports_missing_data(tmp_path, capsys):
    assert cli.main(["demo", "gplvm", "--data", str(tmp_path / "nowhere"), "--output", str(tmp_path)]) == 1
    assert "nowhere" in capsys.readouterr().err
