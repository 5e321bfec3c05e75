"""What ``random.polya_gamma`` refuses: the argument, the rule and the value got."""

from __future__ import annotations

import numpy as np
import pytest

from lvmfast import random
from lvmfast.distributions import PolyaGamma

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("bad", [0, 0.0, -0.0, -1, -2.5, -1e-300, -1e300])
def test_shapes_are_above_0(bad):
    with pytest.raises(ValueError, match=rf"b must be > 0, got {float(bad)}".replace("+", r"\+")):
        random.polya_gamma(bad)
    for dtype in (np.float64, np.float32):
        if abs(bad) < 1e30:
            with pytest.raises(ValueError, match=r"b must be > 0, got -?\d"):
                random.polya_gamma(np.array([1.0, bad, 2.0], dtype))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_parameters_are_finite(bad):
    for value in (bad, np.array(bad), [1.0, bad], np.array([[bad, 1.0]], np.float32)):
        with pytest.raises(ValueError, match=f"b must be finite in float.*, got {bad}"):
            random.polya_gamma(value)
        with pytest.raises(ValueError, match=f"z must be finite in float.*, got {bad}"):
            random.polya_gamma(1.0, value)


def test_shapes_that_round_to_0_are_refused():
    with pytest.raises(ValueError, match=r"b must be > 0, got 0\.0"):
        random.polya_gamma(1e-300, size=3, dtype=np.float32)


@pytest.mark.parametrize(("b", "z"), [(1e300, 1.7e308), (1.0, 8e307), (1e-3, 1e306)])
def test_tilts_at_the_end_of_the_range(b, z):
    np.testing.assert_allclose(random.polya_gamma(b, z, size=4000, rng=1).mean(), b / z / 2, rtol=1e-4)


def test_shapes_below_the_normal_numbers():
    assert (random.polya_gamma(5e-324, 0.0, size=100, rng=1) == 0).all()


def test_parameters_fit_the_dtype():
    with pytest.raises(ValueError, match="b must be finite in float32, got inf"):
        random.polya_gamma(1e39, dtype=np.float32)
    with pytest.raises(ValueError, match="z must be finite in float32, got inf"):
        random.polya_gamma(1, [1e39], dtype=np.float32)
    with pytest.raises(ValueError, match=r"b must be > 0, got 0\.0"):
        random.polya_gamma([1e-300], dtype=np.float32)


@pytest.mark.parametrize("bad", ["one", ["a", "b"], None, 1j, [1j], object(), {"b": 1}])
def test_parameters_are_real_numbers(bad):
    with pytest.raises((TypeError, ValueError), match="^b must"):
        random.polya_gamma(bad)
    with pytest.raises((TypeError, ValueError), match="^z must"):
        random.polya_gamma(1.0, bad)


def test_shapes():
    with pytest.raises(ValueError, match=r"the parameters must broadcast, got shapes \(2,\) and \(3,\)"):
        random.polya_gamma(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match=r"the parameters, \(2, 3\) together, must broadcast to size, got \(3,\)"):
        random.polya_gamma(np.ones((2, 3)), 1, 3)
    with pytest.raises(ValueError, match=r"must broadcast to size, got \(4,\)"):
        random.polya_gamma(np.ones(2), 0.0, 4)
    with pytest.raises(ValueError, match=r"must broadcast to the shape of out, got \(3,\)"):
        random.polya_gamma(np.ones(2), out=np.empty(3))


def test_common_arguments():
    for size, got in [(-1, "-1"), ((2, -3), r"\(2, -3\)")]:
        with pytest.raises(ValueError, match=rf"size must be an int or a tuple of ints >= 0, got {got}"):
            random.polya_gamma(1, size=size)
    for size in (2.0, "3", True, (2, 1.5)):
        with pytest.raises(TypeError, match="size must be"):
            random.polya_gamma(1, size=size)
    for rng in (-1, 2**64, 1.5, "seed", True):
        with pytest.raises(
            ValueError, match=r"rng must be None, an int >= 0 and < 2\*\*64 or a numpy random generator"
        ):
            random.polya_gamma(1, rng=rng)
    for dtype in (np.int64, np.float16, object, "nonsense", ">f8"):
        with pytest.raises(ValueError, match="dtype must be"):
            random.polya_gamma(1, dtype=dtype)
    with pytest.raises(ValueError, match="start must be an integer >= 0, got -1"):
        random.polya_gamma(1, start=-1)
    with pytest.raises(TypeError, match="start must be"):
        random.polya_gamma(1, start=0.5)
    with pytest.raises(ValueError, match=r"start \+ the number of draws must be below 2\*\*63"):
        random.polya_gamma(1, size=2, start=2**63 - 2)
    with pytest.raises(ValueError, match="device must be"):
        random.polya_gamma(1, device="tpu")


def test_out():
    out = np.full(3, 5.0)
    with pytest.raises(ValueError, match=r"out must be an array of float32 with shape \(3,\)"):
        random.polya_gamma(1, out=out, dtype=np.float32)
    with pytest.raises(ValueError, match=r"out must be an array of float64 with shape \(4,\)"):
        random.polya_gamma(1, size=4, out=out)
    with pytest.raises(ValueError, match="the dtype of out must be"):
        random.polya_gamma(1, out=np.empty(3, int))
    with pytest.raises(ValueError, match="out must be an array of .*got list"):
        random.polya_gamma(1, size=3, out=[0.0, 0.0, 0.0])
    for arguments in ({"b": -1}, {"b": NAN}, {"z": INF}, {"rng": -1}, {"start": -1}, {"b": [1.0, 0.0, 1.0]}):
        with pytest.raises(ValueError, match="must be"):
            random.polya_gamma(**{"b": 1, **arguments}, out=out)
    assert (out == 5).all()
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        random.polya_gamma(1, out=out)


def test_samples_of_the_distribution():
    p = PolyaGamma(1.0, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"must broadcast to size, got \(3,\)"):
        p.sample(3)
    with pytest.raises(ValueError, match="start must be"):
        p.sample(start=-1)
