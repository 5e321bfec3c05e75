"""What the functions of lvmfast.random refuse: the argument, the rule and the value got."""

from __future__ import annotations

import numpy as np
import pytest

from lvmfast import random

DRAWS = (random.uniform, random.normal, random.exponential, random.bits)


@pytest.mark.parametrize("draw", DRAWS)
def test_common_arguments(draw):
    with pytest.raises(ValueError, match=r"size must be an int or a tuple of ints >= 0, got -1"):
        draw(size=-1)
    with pytest.raises(ValueError, match=r"size must be .*got \(2, -3\)"):
        draw(size=(2, -3))
    for size in (2.0, "3", True, (2, 1.5), (False,)):
        with pytest.raises(TypeError, match="size must be"):
            draw(size=size)
    for rng in (-1, 2**64, 1.5, "seed", True, np.random):
        with pytest.raises(
            ValueError, match=r"rng must be None, an int >= 0 and < 2\*\*64 or a numpy random generator"
        ):
            draw(size=2, rng=rng)
    for dtype in (np.int64, np.float16, "longdouble", object, "nonsense", ">f8"):
        with pytest.raises(ValueError, match="dtype must be"):
            draw(size=2, dtype=dtype)
    with pytest.raises(ValueError, match="start must be an integer >= 0, got -1"):
        draw(size=2, start=-1)
    with pytest.raises(TypeError, match="start must be"):
        draw(size=2, start=0.5)
    with pytest.raises(ValueError, match=r"start \+ the number of draws must be below 2\*\*63"):
        draw(size=2, start=2**63 - 2)


@pytest.mark.parametrize("draw", DRAWS[:3])
def test_out(draw):
    out = np.empty(3)
    with pytest.raises(ValueError, match=r"out must be an array of float32 with shape \(3,\)"):
        draw(out=out, dtype=np.float32)
    with pytest.raises(ValueError, match=r"out must be an array of float64 with shape \(4,\)"):
        draw(size=4, out=out)
    with pytest.raises(ValueError, match="the dtype of out must be"):
        draw(out=np.empty(3, int))
    with pytest.raises(ValueError, match="out must be an array of .*got list"):
        draw(size=3, out=[0.0, 0.0, 0.0])
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        draw(out=out)


def test_parameters():
    for bad in (np.nan, np.inf, [1.0, -np.inf]):
        with pytest.raises(ValueError, match="loc must be finite"):
            random.normal(bad)
        with pytest.raises(ValueError, match="scale must be finite"):
            random.normal(0, bad)
        with pytest.raises(ValueError, match="scale must be finite"):
            random.exponential(bad)
        with pytest.raises(ValueError, match="low must be finite"):
            random.uniform(bad)
    for draw in (lambda s: random.normal(0, s), random.exponential):
        with pytest.raises(ValueError, match="scale must be >= 0, got -1"):
            draw([1.0, -1.0])
        with pytest.raises(TypeError, match="scale must hold real numbers"):
            draw("wide")
    with pytest.raises(ValueError, match="high - low must be finite"):
        random.uniform(-1.7e308, 1.7e308)
    with pytest.raises(ValueError, match="scale must be finite in float32"):
        random.normal(0, 1e300, dtype=np.float32)


def test_shapes():
    with pytest.raises(ValueError, match=r"the parameters must broadcast, got shapes \(2,\) and \(3,\)"):
        random.normal(np.zeros(2), np.ones(3))
    with pytest.raises(ValueError, match=r"must broadcast to size, got \(3,\)"):
        random.normal(np.zeros((2, 3)), 1, 3)
    with pytest.raises(ValueError, match=r"must broadcast to the shape of out, got \(3,\)"):
        random.normal(np.zeros(2), out=np.empty(3))


def test_out_is_untouched_by_an_error():
    out = np.full(3, 5.0)
    for arguments in ({"rng": -1}, {"start": -1}, {"dtype": np.float32}):
        with pytest.raises(ValueError, match="must be"):
            random.normal(out=out, **arguments)
    assert (out == 5).all()


def test_philox():
    for counter, key in [([0] * 3, [0, 0]), ([0] * 4, [0] * 3), (0, [0, 0])]:
        with pytest.raises(ValueError, match=r"must have shape \(\.\.\., [24]\)"):
            random.philox(counter, key)
    with pytest.raises(TypeError, match="counter must hold whole numbers"):
        random.philox([0.0] * 4, [0, 0])
    for bad in (-1, 2**32):
        with pytest.raises(ValueError, match=r"key must hold numbers >= 0 and < 2\*\*32"):
            random.philox([0] * 4, [bad, 0])
    with pytest.raises(ValueError, match="the leading dimensions of counter and key must broadcast"):
        random.philox(np.zeros((2, 4), int), np.zeros((3, 2), int))
