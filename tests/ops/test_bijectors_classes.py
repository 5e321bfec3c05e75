"""Every bijector against its definition in mpmath, Jacobians by differences, pull-backs, compiled and plain ways."""

from __future__ import annotations

import pickle

import mpmath
import numpy as np
import pytest
from helpers import tolerance
from reference import bijectors as oracle
from reference.kernels import map_mp, ulp_error

from lvmfast import bijectors as b
from lvmfast.bijectors import _compiled

rng = np.random.default_rng(0)
L = np.tril(rng.normal(0, 0.5, (3, 3)), -1) + np.diag([1.25, -0.5, 2.0])
# name: the bijector, the oracle's steps
CASES = {
    "Identity": (b.Identity(), [("Identity",)]),
    "Shift": (b.Shift(-0.75), [("Shift", -0.75)]),
    "Scale": (b.Scale(-1.5), [("Scale", -1.5)]),
    "Exp": (b.Exp(), [("Exp",)]),
    "Log": (b.Log(), [("Log",)]),
    "Softplus": (b.Softplus(0.25), [("Softplus", 0.25)]),
    "Sigmoid": (b.Sigmoid(), [("Sigmoid", 0.0, 1.0)]),
    "Sigmoid, ends": (b.Sigmoid(-2.0, 5.0), [("Sigmoid", -2.0, 5.0)]),
    "Tanh": (b.Tanh(), [("Tanh",)]),
    "Power": (b.Power(2.5), [("Power", 2.5)]),
    "Power, falling": (b.Power(-0.5), [("Power", -0.5)]),
    "SinhArcsinh": (b.SinhArcsinh(0.25, 1.5), [("SinhArcsinh", 0.25, 1.5)]),
    "SinhArcsinh, light": (b.SinhArcsinh(-0.5, 0.75), [("SinhArcsinh", -0.5, 0.75)]),
    "ScaleTriL": (b.ScaleTriL(L), [("ScaleTriL", L)]),
    "Permute": (b.Permute([2, 0, 1]), [("Permute", (2, 0, 1))]),
    "Banana": (b.Banana(), [("Banana",)]),
    "Ordered": (b.Ordered(), [("Ordered",)]),
    "chain of numbers": (
        b.Chain([b.Sigmoid(), b.Scale(2.0), b.Shift(1.0)]),
        [("Sigmoid", 0.0, 1.0), ("Scale", 2.0), ("Shift", 1.0)],
    ),
    "chain of vectors": (
        b.Chain([b.Banana(), b.Chain([b.ScaleTriL(L), b.Permute([1, 2, 0])]), b.Tanh(), b.Shift([0.5, 0.0, -0.25])]),
        [("Banana",), ("ScaleTriL", L), ("Permute", (1, 2, 0)), ("Tanh",), ("Shift", [0.5, 0.0, -0.25])],
    ),
    "chain with an inverse": (
        b.Chain([b.Invert(b.Exp()), b.Softplus(0.0), b.Ordered()]),
        [("Log",), ("Softplus", 0.0), ("Ordered",)],
    ),
}
oracle.MAPS["Shift"] = lambda x, shift: [t + s for t, s in zip(x, np.broadcast_to(shift, len(x)), strict=True)]
POSITIVE = ("Log", "Power", "Power, falling")
BY_EVENT = [name for name in CASES if CASES[name][0].event_ndims == 1]


def close(actual, expected, relative, floor=1.0):
    """``|actual - expected| <= relative (floor + |expected|)`` for every number."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) / (floor + np.abs(expected) + 1e-300)
    assert (excess <= relative).all(), f"{excess.max():.3g} > {relative:.3g}"


def points(name, n, dtype=np.float64, scale=1.0):
    x = np.random.default_rng(1).normal(0, scale, (n, 3)).astype(dtype)
    return np.abs(x) + dtype(0.25) if name in POSITIVE else x


@pytest.fixture(params=["compiled", "plain"])
def way(request, monkeypatch):
    """Both ways that a call can go, whatever the size."""
    monkeypatch.setattr(_compiled, "SMALLEST", 0 if request.param == "compiled" else 10**9)
    return request.param


@pytest.mark.parametrize("name", CASES)
def test_against_the_definition(name, dtype, way):
    """forward, inverse and their log-dets, fused and alone, over events of vectors."""
    bijector, steps = CASES[name]
    x = points(name, 12, dtype)
    y, log_det = bijector.forward_and_log_det(x, 1)
    assert y.dtype == log_det.dtype == dtype and log_det.shape == (12,)
    exact = np.array([[float(t) for t in oracle.image_mp(steps, row)] for row in x])
    exact_log_det = np.array([float(oracle.log_det_mp(steps, row)) for row in x])
    close(y, exact, tolerance(dtype, 8))
    close(log_det, exact_log_det, tolerance(dtype, 8))
    np.testing.assert_array_equal(bijector.forward(x), y)
    np.testing.assert_array_equal(bijector.forward_log_det(x, 1), log_det)
    back, inverse_log_det = bijector.inverse_and_log_det(y, 1)
    # what the rounding of y is in x
    close(back, x, tolerance(dtype, 1, 2000))
    close(inverse_log_det, -exact_log_det, tolerance(dtype, 1, 2000))
    close(bijector.inverse(y), back, tolerance(dtype))
    close(bijector.inverse_log_det(y, 1), inverse_log_det, tolerance(dtype, 8))
    turned = b.Invert(bijector)
    np.testing.assert_array_equal(turned.forward(y), bijector.inverse(y))
    np.testing.assert_array_equal(turned.inverse_log_det(x, 1), log_det)


@pytest.mark.parametrize("name", CASES)
def test_ways_agree(name, dtype, monkeypatch):
    """Programs in packs and calls of NumPy, to rounding; blocks that end anywhere."""
    bijector, _ = CASES[name]
    x = points(name, 1237, dtype)
    monkeypatch.setattr(_compiled, "SMALLEST", 10**9)
    expected = bijector.forward_and_log_det(x, 1)
    monkeypatch.setattr(_compiled, "SMALLEST", 0)
    answer = _compiled.run(bijector, x, inverse=False, more=1 - bijector.event_ndims)
    assert answer is not None
    for a, e in zip(answer, expected, strict=True):
        close(a, e, tolerance(dtype, 8))
    parts = [bijector.forward(x[k : k + 411]) for k in range(0, 1237, 411)]
    np.testing.assert_array_equal(np.concatenate(parts), answer[0])


@pytest.mark.parametrize("name", CASES)
def test_pullbacks(name):
    """Against central differences of the fused calls."""
    bijector, _ = CASES[name]
    x = points(name, 5)
    own = bijector.event_ndims
    bar, log_det_bar = rng.normal(size=x.shape), rng.normal(size=x.shape[: 2 - own])
    for pull, call, at in (
        (bijector.forward_vjp, bijector.forward_and_log_det, x),
        (bijector.inverse_vjp, bijector.inverse_and_log_det, bijector.forward(x)),
    ):
        given = at.copy(), bar.copy(), log_det_bar.copy()
        pulled = pull(at, bar, log_det_bar)
        assert pulled.shape == at.shape
        np.testing.assert_array_equal(
            pull(at, bar) + pull(at, 0 * bar, log_det_bar), pull(at, bar) + pull(at, 0.0, log_det_bar)
        )
        for before, after in zip(given, (at, bar, log_det_bar), strict=True):
            np.testing.assert_array_equal(before, after)

        def loss(a, call=call):
            value, log_det = call(a)
            return (value * bar).sum() + (log_det * log_det_bar).sum()

        numeric, h = np.empty_like(at), 1e-6
        for index in np.ndindex(at.shape):
            step = np.zeros_like(at)
            step[index] = h
            numeric[index] = (loss(at + step) - loss(at - step)) / (2 * h)
        close(pulled, numeric, 1e-7)


def test_vjp_sums_over_what_parameters_broadcast():
    shift = b.Scale(np.array([[1.0], [2.0], [3.0]]))
    x = np.array([[0.5, -1.0]])
    assert shift.forward(x).shape == (3, 2)
    np.testing.assert_array_equal(shift.forward_vjp(x, np.ones((3, 2))), [[6.0, 6.0]])
    np.testing.assert_array_equal(shift.forward_log_det(x), np.log([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    np.testing.assert_array_equal(b.Shift(np.zeros((3, 1))).forward_log_det(x), np.zeros((3, 2)))


def test_tails(dtype, way):
    """At +-40 and beyond, to full relative precision."""
    x = np.array([-1e4, -200.0, -40.0, -20.0, 0.0, 20.0, 40.0, 200.0, 1e4], dtype)
    wide = x.astype(float)
    size = np.abs(wide)
    exact = 2 * (np.log(2) - size - np.log1p(np.exp(-2 * size)))
    close(b.Tanh().forward_log_det(x), exact, tolerance(dtype), 0.01)
    exact = -size - 2 * np.log1p(np.exp(-size))
    close(b.Sigmoid().forward_log_det(x), exact, tolerance(dtype))
    close(b.Sigmoid(-1.0, 1.0).forward_log_det(2 * x), b.Tanh().forward_log_det(x) - np.log(2), tolerance(dtype))
    y = b.Sigmoid().forward(np.array([-40.0, -80.0], dtype))
    close(y, np.exp([-40.0, -80.0]), tolerance(dtype), 0.0)
    close(b.Sigmoid().inverse(y), [-40.0, -80.0], tolerance(dtype), 0.0)
    tiny = np.array([1e-30, 1e-20, 1e-5], dtype)
    close(b.Softplus().inverse(tiny), np.log(np.expm1(tiny.astype(float))), tolerance(dtype))
    close(b.Tanh().inverse(tiny), np.arctanh(tiny.astype(float)), tolerance(dtype), 0.0)
    close(b.Softplus().inverse_log_det(tiny), -np.log(-np.expm1(-tiny.astype(float))), tolerance(dtype))
    far = np.array([-1e30, 1e30], dtype)
    heavy = b.SinhArcsinh(0.25, 1.5)
    close(heavy.inverse(heavy.forward(x)), x, tolerance(dtype, 8, 100))
    assert np.isfinite(b.SinhArcsinh(0.25, 0.5).forward_and_log_det(far)[1]).all()


def test_infinities_and_nan(dtype, way):
    x = np.array([-np.inf, np.nan, np.inf], dtype)
    np.testing.assert_array_equal(b.Exp().forward(x), [0, np.nan, np.inf])
    np.testing.assert_array_equal(b.Tanh().forward(x), [-1, np.nan, 1])
    np.testing.assert_array_equal(b.Sigmoid().forward(x), [0, np.nan, 1])
    np.testing.assert_array_equal(b.SinhArcsinh(0.5).forward(x), x)
    np.testing.assert_array_equal(b.Softplus().forward(x), [0, np.nan, np.inf])


def test_elementary_functions_of_packs():
    """Errors in ulps of what the programs are made of: logarithm 2, artanh and exp(x) - 1 by their bijectors 4."""
    generator = np.random.default_rng(3)
    x = np.concatenate([np.exp(generator.uniform(-740, 700, 3000)), generator.uniform(0.5, 2, 3000), [5e-324, 1.0]])
    assert ulp_error(b.Log().forward(x), map_mp(mpmath.log, x), np.float64).max() <= 2
    y = np.concatenate([generator.uniform(-1, 1, 3000), 1 - np.exp(generator.uniform(-35, 0, 3000)), [1e-300]])
    assert ulp_error(b.Tanh().inverse(y), map_mp(mpmath.atanh, y), np.float64).max() <= 4
    for dtype in (np.float64, np.float32):
        z = generator.uniform(-20, 20, 4096).astype(dtype)
        assert (
            ulp_error(b.SinhArcsinh(0.0, 1.0).forward(z), map_mp(lambda t: t, z), dtype).max() <= 64
        )  # |asinh| of them


class TestBatches:
    def test_leading_dimensions(self):
        bijector = CASES["chain of vectors"][0]
        x = points("", 24).reshape(2, 3, 4, 3)
        y, log_det = bijector.forward_and_log_det(x)
        assert log_det.shape == (2, 3, 4)
        flat = bijector.forward_and_log_det(x.reshape(-1, 3))
        np.testing.assert_array_equal(y.reshape(-1, 3), flat[0])
        np.testing.assert_array_equal(bijector.forward_log_det(x, 3), log_det.sum(axis=(1, 2)))
        np.testing.assert_allclose(bijector.inverse(y[::2, ::-1]), x[::2, ::-1], rtol=1e-12, atol=1e-12)

    def test_batches_of_triangles(self):
        scales = np.stack([L, 2 * L])[:, None]
        bijector = b.ScaleTriL(scales)
        x = points("", 4)
        y = bijector.forward(x)
        assert y.shape == (2, 4, 3)
        np.testing.assert_allclose(y[1], 2 * x @ L.T, rtol=1e-14)
        np.testing.assert_allclose(bijector.inverse(y), np.stack([x, x]), rtol=1e-12)
        expected = np.log(np.abs(np.diag(L))).sum() + np.array([[0.0] * 4, [3 * np.log(2)] * 4])
        np.testing.assert_allclose(bijector.forward_log_det(x), expected, rtol=1e-14)

    def test_one_number_and_none(self):
        assert b.Exp().forward(0.0) == 1 and np.ndim(b.Exp().forward_log_det(0.0)) == 0
        assert b.Banana().forward(np.empty((0, 2))).shape == (0, 2)
        assert (
            b.Chain([]).forward([1.0, 2.0]).tolist() == [1.0, 2.0] and b.Chain([]).forward_log_det([1.0, 2.0], 1) == 0
        )

    def test_many_features(self):
        """More than a program takes: the plain way."""
        wide = b.Chain([b.Softplus(), b.Scale(np.linspace(1, 2, 40))])
        x = np.random.default_rng(0).normal(size=(50, 40))
        y, log_det = wide.forward_and_log_det(x, 1)
        assert log_det.shape == (50,)
        np.testing.assert_allclose(wide.inverse(y), x, rtol=1e-10, atol=1e-12)


class TestOwn:
    class Cube(b.Bijector):
        def _forward(self, x):
            return x**3

        def _inverse(self, y):
            return np.cbrt(y)

        def _forward_log_det(self, x):
            return np.log(3 * x**2)

    def test_three_methods(self):
        x = points("", 5)
        y, log_det = self.Cube().forward_and_log_det(x)
        np.testing.assert_allclose(self.Cube().inverse_log_det(y), -log_det, rtol=1e-12)
        chain = b.Chain([b.Banana(), self.Cube()])
        np.testing.assert_allclose(chain.inverse(chain.forward(x)), x, rtol=1e-10)
        with pytest.raises(NotImplementedError, match="Cube has no pull-back: it must define _forward_vjp"):
            self.Cube().forward_vjp(x, y)
        assert self.Cube() == self.Cube() and repr(self.Cube()) == "Cube()"

    def test_subclasses_are_not_compiled(self):
        """A subclass changes what its parent does; nothing of the parent's may run in its place."""

        class Doubled(b.Exp):
            def _forward(self, x):
                return 2 * np.exp(x)

        np.testing.assert_array_equal(Doubled().forward(np.zeros(5000)), np.full(5000, 2.0))

    def test_nothing_is_defined(self):
        with pytest.raises(NotImplementedError, match="Bijector has no log-det: it must define _forward_log_det"):
            b.Bijector().forward_log_det(1.0)
        with pytest.raises(NotImplementedError, match=r"must define _forward\(x\)"):
            b.Bijector().forward(1.0)

    def test_inline(self):
        """The reference's banana from functions, beside the class."""

        def forward(x):
            return np.concatenate([x[..., :1], x[..., 1:2] - x[..., :1] ** 2 - 1, x[..., 2:]], axis=-1)

        def inverse(y):
            return np.concatenate([y[..., :1], y[..., 1:2] + y[..., :1] ** 2 + 1, y[..., 2:]], axis=-1)

        banana = b.Inline(forward, inverse, inverse_log_det=lambda y: 0.0, event_ndims=1)
        x = points("", 6)
        for method in ("forward", "inverse", "forward_log_det", "inverse_log_det"):
            np.testing.assert_array_equal(getattr(banana, method)(x), getattr(b.Banana(), method)(x))
        assert banana.forward_log_det(x).shape == (6,)
        assert repr(banana) == "Inline(forward=forward, inverse=inverse, inverse_log_det=<lambda>, event_ndims=1)"
        with_vjp = b.Inline(np.exp, np.log, lambda x: x, forward_vjp=lambda x, d, e: d * np.exp(x) + e)
        np.testing.assert_allclose(with_vjp.inverse_vjp(2.0, 1.0, 3.0), b.Exp().inverse_vjp(2.0, 1.0, 3.0))
        with pytest.raises(TypeError, match="forward_log_det or inverse_log_det must be given"):
            b.Inline(np.exp, np.log)
        with pytest.raises(TypeError, match="inverse must be callable, got None"):
            b.Inline(np.exp, None, lambda x: x)


@pytest.mark.parametrize("name", CASES)
def test_objects(name):
    """Pickles, comparison, hash, representation; nothing is kept from a call."""
    bijector = CASES[name][0]
    before = pickle.dumps(bijector)
    bijector.forward(points(name, 3))
    assert pickle.dumps(bijector) == before
    other = pickle.loads(before)
    assert other == bijector and hash(other) == hash(bijector) and repr(other) == repr(bijector)
    assert all(bijector != CASES[key][0] for key in CASES if key != name)
    assert eval(repr(bijector).replace("array", ""), vars(b)) == bijector or "ScaleTriL" in repr(bijector)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: b.Log().forward([1.0, -2.0]), ValueError, "x must be > 0, got -2"),
        (
            lambda: b.Sigmoid().inverse(1.5),
            ValueError,
            r"y must be > low and < high of Sigmoid\(low=0, high=1\), got 1.5",
        ),
        (lambda: b.Tanh().inverse([0.0, -1.0]), ValueError, "y must be > -1 and < 1, got -1"),
        (lambda: b.Power(2.0).inverse(0.0), ValueError, "y must be > 0, got 0"),
        (lambda: b.Power(0.0), ValueError, "power must be finite and not 0, got 0"),
        (lambda: b.Scale([1.0, 0.0]), ValueError, "scale must be finite and not 0, got 0"),
        (lambda: b.Shift(np.nan), ValueError, "shift must be finite, got nan"),
        (lambda: b.Sigmoid(1.0, 1.0), ValueError, r"low must be < high, and high - low finite, got Sigmoid\("),
        (lambda: b.SinhArcsinh(0.0, -1.0), ValueError, "tailweight must be finite and > 0, got -1"),
        (
            lambda: b.ScaleTriL([[1.0, 2.0], [0.0, 1.0]]),
            ValueError,
            "scale_tril must have zeros above the diagonal, got 2",
        ),
        (lambda: b.ScaleTriL([[0.0]]), ValueError, "scale_tril must have a diagonal without 0, got 0"),
        (lambda: b.ScaleTriL(L).forward([1.0, 2.0]), ValueError, r"x must have 3 numbers in its last dimension"),
        (lambda: b.Permute([0, 2]), ValueError, "permutation must hold every one of 0, ..., d - 1"),
        (lambda: b.Banana().forward([1.0]), ValueError, "x must have 2 or more numbers in its last dimension"),
        (lambda: b.Banana().forward(1.0), ValueError, "x must have at least 1 dimensions"),
        (lambda: b.Ordered().inverse([[0.0, 1.0], [2.0, 1.0]]), ValueError, r"y must ascend, got \[2. 1.\]"),
        (lambda: b.Banana().forward_log_det([1.0, 2.0], 0), ValueError, "event_ndims must be an integer >= 1, got 0"),
        (lambda: b.Exp().forward_log_det([1.0], 2), ValueError, "event_ndims must be <= the dimensions of x, 1, got 2"),
        (lambda: b.Chain([b.Exp]), TypeError, "bijectors must hold bijectors, got .* at 0"),
        (lambda: b.Invert(1), TypeError, "bijector must be a bijector, got 1"),
        (lambda: b.Invert(b.Exp()).forward(-1.0), ValueError, "x must be > 0, got -1"),
        (
            lambda: b.Chain([b.Exp(), b.Tanh()]).inverse(9.0),
            ValueError,
            r"step 2 of the chain, Tanh\(\), .* got 2.19722",
        ),
        (lambda: b.Exp().forward(1j), TypeError, "x must hold real numbers"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
