"""Parameters of kernels by name: values, bounds, priors, bijectors, the unconstrained vector, copies."""

from __future__ import annotations

import collections.abc
import copy
import pickle

import numpy as np
import pytest
import scipy.stats
import sklearn
from helpers import DIFFERENCE, assert_near, differences, tolerance

from lvmfast import bijectors, kernels, priors
from lvmfast.kernels import RBF, Constant, Linear, Matern52, Periodic, Polynomial, RationalQuadratic, White

OWN = {
    "RBF": ["variance", "lengthscale"],
    "Matern12": ["variance", "lengthscale"],
    "Matern32": ["variance", "lengthscale"],
    "Matern52": ["variance", "lengthscale"],
    "RationalQuadratic": ["variance", "lengthscale", "alpha"],
    "Periodic": ["variance", "lengthscale", "period"],
    "Linear": ["variance"],
    "Polynomial": ["variance", "offset"],
    "Cosine": ["variance", "lengthscale"],
    "Constant": ["variance"],
    "White": ["variance"],
}
X = np.linspace(-1, 1, 12).reshape(6, 2) ** 3

NAMES = [
    "rbf.variance",
    "rbf.lengthscale",
    "matern52.variance",
    "matern52.lengthscale",
    "rbf_2.variance",
    "rbf_2.lengthscale",
    "white.variance",
    "rbf_3.variance",
    "rbf_3.lengthscale",
]
VALUES = [1.5, [0.5, 2.0], 1.0, 0.75, 2.0, 3.0, 0.125, 4.0, 1.25]


def tree():
    """Two of its lengthscales are arrays or scalars of three RBFs; its parameters are NAMES."""
    product = Matern52(1.0, 0.75) * (RBF(2.0, 3.0) + White(0.125))
    return RBF(1.5, [0.5, 2.0]) + product + RBF(4.0, 1.25, active_dims=[1])


def values(k):
    return {name: parameter.value for name, parameter in k.parameters.items()}


class Quadratic:
    """A user's own prior: log density -(x - 1)^2, not normalised."""

    def log_density(self, x):
        return -((np.asarray(x) - 1.0) ** 2)

    def gradient(self, x):
        return -2 * (np.asarray(x) - 1.0)


class TestNames:
    @pytest.mark.parametrize("kind", OWN)
    def test_leaves(self, kind):
        k = getattr(kernels, kind)()
        assert list(k.parameters) == OWN[kind]
        assert all(value == 1 for value in values(k).values())
        assert list((k + k).parameters) == [f"{kind.lower()}{i}.{name}" for i in ("", "_2") for name in OWN[kind]]

    def test_trees(self):
        k = tree()
        assert list(k.parameters) == NAMES
        for actual, expected in zip(values(k).values(), VALUES, strict=True):
            np.testing.assert_array_equal(actual, expected)

    def test_counted_over_the_whole_tree(self):
        """Left to right, however the tree is put together."""
        a, b = RBF(1.0) + RBF(2.0), RBF(3.0) * Linear(5.0)
        names = ["rbf.variance", "rbf_2.variance", "rbf_3.variance", "linear.variance"]
        for k in (a + b, RBF(1.0) + (RBF(2.0) + b), (a + RBF(3.0)) + Linear(5.0)):
            found = values(k)
            assert [name for name in found if name.endswith("variance")] == names
            assert [found[name] for name in names] == [1, 2, 3, 5]

    def test_mapping(self):
        parameters = tree().parameters
        assert isinstance(parameters, collections.abc.Mapping)
        assert len(parameters) == len(NAMES)
        assert "rbf_2.variance" in parameters
        assert "rbf_4.variance" not in parameters
        assert "variance" not in parameters
        with pytest.raises((KeyError, ValueError), match="rbf_4.variance"):
            parameters["rbf_4.variance"]
        with pytest.raises((KeyError, ValueError), match="rbf_4.variance"):
            parameters["rbf_4.variance"] = 1.0

    def test_defaults(self):
        for parameter in tree().parameters.values():
            assert parameter.fixed is False
            assert parameter.prior is None
            assert isinstance(parameter.bijector, bijectors.Exp)
            low, high = parameter.bounds
            assert 0 <= low < high

    def test_table(self):
        """One line for each parameter with its name, its value and what was set."""
        k = tree().fix("white.variance").set_prior("matern52.variance", priors.Gamma(2.0, 1.0))
        k.set_bounds("rbf_2.lengthscale", 0.0625, 1234.0)
        text = str(k.parameters)
        assert text == repr(k.parameters)
        lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
        assert set(NAMES) <= set(lines)
        assert "0.125" in lines["white.variance"]
        assert "1.25" in lines["rbf_3.lengthscale"]
        assert "Gamma" in lines["matern52.variance"]
        assert "Gamma" not in lines["rbf.variance"]
        assert "0.0625" in lines["rbf_2.lengthscale"]
        assert "1234" in lines["rbf_2.lengthscale"]
        assert lines["white.variance"].replace("0.125", "1.5").split()[1:] != lines["rbf.variance"].split()[1:]


class TestValues:
    def test_set(self):
        k = tree()
        K = k(X)
        k.parameters["rbf_2.variance"] = 7.0
        assert k.parameters["rbf_2.variance"].value == 7
        assert (k(X) != K).any()
        assert k.set_params(**{"rbf_2.variance": 2.0}) is k
        np.testing.assert_array_equal(k(X), K)
        params = k.get_params()
        assert params["rbf_2.variance"] == 2
        np.testing.assert_array_equal(params["rbf.lengthscale"], [0.5, 2.0])

    def test_scalar_becomes_array(self):
        k = tree()
        k.set_params(**{"matern52.lengthscale": [0.5, 4.0]})
        np.testing.assert_array_equal(k.parameters["matern52.lengthscale"].value, [0.5, 4.0])
        expected = RBF(1.5, [0.5, 2.0]) + Matern52(1.0, [0.5, 4.0]) * (RBF(2.0, 3.0) + White(0.125))
        np.testing.assert_array_equal(k(X), (expected + RBF(4.0, 1.25, active_dims=[1]))(X))
        assert k.vjp(X, None, np.ones((6, 6)))[2]["matern52.lengthscale"].shape == (2,)

    def test_leaf(self):
        k = RBF(2.0, [1.0, 2.0])
        k.parameters["variance"] = 3.0
        assert k.variance == 3.0
        assert k.set_params(variance=4.0) is k
        assert k.parameters["variance"].value == 4
        k.variance = 5.0
        assert k.parameters["variance"].value == 5

    @pytest.mark.parametrize("name", ["nope", "variance", "rbf.period", "rbf_4.variance", "rbf"])
    def test_unknown_names(self, name):
        k = tree()
        with pytest.raises(ValueError, match=name):
            k.set_params(**{name: 1.0})
        for call in (k.fix, k.free, lambda n: k.set_bounds(n, 1.0, 2.0), lambda n: k.set_prior(n, None)):
            with pytest.raises(ValueError, match=name):
                call(name)
        with pytest.raises(ValueError, match=name):
            k.set_bijector(name, bijectors.Exp())
        assert k == tree()

    def test_unknown_names_of_a_leaf(self):
        for name in ("period", "rbf.variance"):
            with pytest.raises(ValueError, match=name):
                RBF().set_params(**{name: 1.0})
            with pytest.raises(ValueError, match=name):
                RBF().fix(name)

    @pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf, "a", None])
    def test_bad_values(self, bad):
        """Refused at once or with the first use; the error says which parameter."""
        with pytest.raises((ValueError, TypeError), match="variance"):
            tree().set_params(**{"matern52.variance": bad})(X)


class TestPatterns:
    def test_fix_and_free(self):
        k = tree()
        assert k.fix("*.variance") is k
        fixed = {name for name, parameter in k.parameters.items() if parameter.fixed}
        assert fixed == {name for name in NAMES if name.endswith("variance")}
        assert k.free("rbf*") is k
        assert {name for name, p in k.parameters.items() if p.fixed} == {"matern52.variance", "white.variance"}
        k.fix()
        assert all(p.fixed for p in k.parameters.values())
        k.free()
        assert not any(p.fixed for p in k.parameters.values())
        k.fix("white.*", "rbf_?.lengthscale", "matern52.variance")
        expected = {"white.variance", "rbf_2.lengthscale", "rbf_3.lengthscale", "matern52.variance"}
        assert {name for name, p in k.parameters.items() if p.fixed} == expected

    def test_bounds(self):
        k = tree()
        assert k.set_bounds("*lengthscale", 0.25, 8.0) is k
        for name, parameter in k.parameters.items():
            assert (tuple(parameter.bounds) == (0.25, 8.0)) == name.endswith("lengthscale")

    def test_priors(self):
        k, prior = tree(), priors.Gamma(2.0, 3.0)
        assert k.set_prior("rbf*.variance", prior) is k
        expected = {"rbf.variance", "rbf_2.variance", "rbf_3.variance"}
        assert {name for name, p in k.parameters.items() if p.prior is not None} == expected
        assert k.parameters["rbf_3.variance"].prior == prior
        k.set_prior("*", None)
        assert all(p.prior is None for p in k.parameters.values())

    def test_bijectors(self):
        k, bijector = tree(), bijectors.Softplus(0.0625)
        assert k.set_bijector("white.*", bijector) is k
        softened = [name for name, p in k.parameters.items() if isinstance(p.bijector, bijectors.Softplus)]
        assert softened == ["white.variance"]

    @pytest.mark.parametrize(("low", "high"), [(2.0, 1.0), (np.nan, 1.0), (0.5, np.nan), ("a", 1.0)])
    def test_bad_bounds(self, low, high):
        with pytest.raises((ValueError, TypeError)):
            tree().set_bounds("rbf.variance", low, high)

    def test_bad_objects(self):
        for bad in (1.0, "gamma", object()):
            with pytest.raises((ValueError, TypeError), match="prior"):
                tree().set_prior("rbf.variance", bad)
            with pytest.raises((ValueError, TypeError), match="bijector"):
                tree().set_bijector("rbf.variance", bad)

    def test_pattern_without_a_match(self):
        for pattern in ("*.period", "matern12*", ""):
            with pytest.raises(ValueError, match="names|pattern|parameter"):
                tree().fix(pattern)


class TestTheta:
    def test_order(self):
        """Logarithms of the free values, array by array."""
        k = tree()
        expected = np.log(np.concatenate([np.ravel(value) for value in VALUES]))
        assert k.theta.dtype == np.float64
        assert_near(k.theta, expected, tolerance(float), scale=1)
        k.fix("rbf.lengthscale", "white.variance")
        assert_near(k.theta, expected[[0, 3, 4, 5, 6, 8, 9]], tolerance(float), scale=1)
        assert k.fix().theta.shape == (0,)
        assert k.theta_bounds.shape == (0, 2)

    def test_round_trip(self):
        k = tree().fix("*.variance")
        kept = values(k)
        k.theta = k.theta + np.log([1, 2, 3, 4, 5.0])
        changed = values(k)
        for name, value in kept.items():
            if name.endswith("variance"):
                assert changed[name] == value
        assert_near(changed["rbf.lengthscale"], [0.5, 4.0], tolerance(float))
        assert_near(changed["matern52.lengthscale"], 2.25, tolerance(float))
        assert_near(changed["rbf_3.lengthscale"], 6.25, tolerance(float))
        assert np.ndim(changed["rbf_2.lengthscale"]) == 0
        k.theta = k.theta - np.log([1, 2, 3, 4, 5.0])
        for name, value in values(k).items():
            assert_near(value, kept[name], tolerance(float))
        assert_near(k(X), tree()(X), tolerance(float, 10))

    def test_the_caller_keeps_his_array(self):
        """theta is a copy on the way out and on the way in."""
        k = tree()
        theta = k.theta
        theta[:] = 0
        assert_near(values(k)["rbf.variance"], 1.5, tolerance(float))
        theta = k.theta
        k.theta = theta
        theta[:] = 5
        ells = values(k)["rbf.lengthscale"]
        assert_near(ells, [0.5, 2.0], tolerance(float))

    def test_gradient(self):
        """The chain through theta: gradients times the derivative of each bijector."""
        k = tree().fix("matern52.variance").set_bijector("rbf*.lengthscale", bijectors.Softplus(0.0625))
        C = np.cos(np.arange(36.0)).reshape(6, 6)

        def f(theta):
            other = k.copy()
            other.theta = theta
            return np.sum(C * other(X))

        gradients = k.vjp(X, None, C)[2]
        assert list(gradients) == NAMES  # the fixed one too
        chain = []
        for name, parameter in k.parameters.items():
            if not parameter.fixed:
                # dy/du is y for y = exp(u), and 1 - exp(floor - y) for y = floor + log(1 + exp(u)).
                y = np.ravel(parameter.value).astype(float)
                slope = 1 - np.exp(0.0625 - y) if "rbf" in name and name.endswith("lengthscale") else y
                chain.append(np.ravel(gradients[name]) * slope)
        assert_near(np.concatenate(chain), differences(f, k.theta), tolerance(float, 36, DIFFERENCE))

    def test_softplus(self):
        k = Periodic(1.0, [2.0, 3.0], 4.0).set_bijector("lengthscale", bijectors.Softplus(0.5))
        expected = [0, *np.log(np.expm1([1.5, 2.5])), np.log(4)]
        assert_near(k.theta, expected, tolerance(float), scale=1)
        k.theta = np.zeros(4)
        assert_near(values(k)["lengthscale"], np.full(2, 0.5 + np.log(2)), tolerance(float))
        assert_near(values(k)["period"], 1.0, tolerance(float))

    def test_bounds(self):
        k = tree().set_bounds("*.lengthscale", 0.25, 8.0).set_bounds("*.variance", 0.0625, 16.0)
        bounds = k.theta_bounds
        assert bounds.shape == (10, 2)
        ells = [1, 2, 4, 6, 9]
        assert_near(bounds[ells], np.tile(np.log([0.25, 8.0]), (5, 1)), tolerance(float))
        rest = np.setdiff1d(np.arange(10), ells)
        assert_near(bounds[rest], np.tile(np.log([0.0625, 16.0]), (5, 1)), tolerance(float))
        assert ((bounds[:, 0] < k.theta) & (k.theta < bounds[:, 1])).all()
        assert k.fix("rbf.lengthscale").theta_bounds.shape == (8, 2)
        k.set_bijector("rbf_2.lengthscale", bijectors.Softplus())
        assert_near(k.theta_bounds[4], np.log(np.expm1([0.25, 8.0])), tolerance(float))

    @pytest.mark.parametrize(
        "bad", [np.zeros(9), np.zeros(11), np.zeros((10, 1)), 1.0, np.full(10, np.nan), ["a"] * 10]
    )
    def test_errors(self, bad):
        k = tree()
        with pytest.raises((ValueError, TypeError), match="theta"):
            k.theta = bad
        assert k == tree()


class TestLogPrior:
    def test_none(self):
        value, gradients = tree().log_prior()
        assert value == 0
        assert not any(np.any(gradient) for gradient in gradients.values())

    def test_value_and_gradient(self):
        """Densities of the parameters themselves, summed over the entries of arrays."""
        k = (
            tree()
            .set_prior("*.lengthscale", priors.Gamma(2.0, 3.0))
            .set_prior("rbf.variance", priors.LogNormal(0.5, 2.0))
        )
        value, gradients = k.log_prior()
        ells = {name: np.array(v) for name, v in zip(NAMES, VALUES, strict=True) if name.endswith("lengthscale")}
        expected = sum(np.sum(scipy.stats.gamma(2.0, scale=1 / 3).logpdf(ell)) for ell in ells.values())
        expected += scipy.stats.lognorm(2.0, scale=np.exp(0.5)).logpdf(1.5)
        assert_near(value, expected, tolerance(float, 6))
        for name, ell in ells.items():
            assert_near(gradients[name], 1 / ell - 3, tolerance(float, 1), scale=10)
        assert_near(gradients["rbf.variance"], -(1 + (np.log(1.5) - 0.5) / 4) / 1.5, tolerance(float))
        assert not any(np.any(gradients.get(name, 0)) for name in NAMES if name.startswith("white"))

    def test_of_a_user(self):
        """Any object with the two methods."""
        k = tree().set_prior("rbf*.lengthscale", Quadratic())
        value, gradients = k.log_prior()
        assert_near(value, -(0.25 + 1 + 4 + 0.0625), tolerance(float))
        assert_near(gradients["rbf.lengthscale"], [1.0, -2.0], tolerance(float))
        assert_near(gradients["rbf_2.lengthscale"], -4.0, tolerance(float))
        assert_near(gradients["rbf_3.lengthscale"], -0.5, tolerance(float))

    def test_outside_the_support(self):
        """-inf is an answer: the optimizer turns back."""

        class Low(Quadratic):
            def log_density(self, x):
                return np.where(np.asarray(x) < 1, 0.0, -np.inf)

        assert RBF(2.0).set_prior("variance", Low()).log_prior()[0] == -np.inf


def decorated():
    """A tree of which every property differs from what it starts with."""
    k = tree().fix("rbf_2.*").set_bounds("*.lengthscale", 0.25, 8.0).set_prior("white.*", priors.HalfNormal(2.0))
    return k.set_bijector("matern52.variance", bijectors.Softplus(0.0625))


COPIES = {
    "copy": lambda k: k.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda k: pickle.loads(pickle.dumps(k)),
    "clone": sklearn.clone,
}


def assert_kept(parameters, expected):
    assert list(parameters) == list(expected)
    for name, parameter in expected.items():
        other = parameters[name]
        np.testing.assert_array_equal(other.value, parameter.value)
        assert np.shape(other.value) == np.shape(parameter.value)
        assert other.fixed == parameter.fixed
        assert tuple(other.bounds) == tuple(parameter.bounds)
        assert other.prior == parameter.prior
        assert type(other.bijector) is type(parameter.bijector)
        assert getattr(other.bijector, "floor", None) == getattr(parameter.bijector, "floor", None)


class TestCopies:
    @pytest.mark.parametrize("how", COPIES)
    def test_everything_is_kept(self, how):
        k = decorated()
        other = COPIES[how](k)
        assert other is not k
        assert type(other) is type(k)
        assert other == k
        assert_kept(other.parameters, k.parameters)
        np.testing.assert_array_equal(other.theta, k.theta)
        np.testing.assert_array_equal(other.theta_bounds, k.theta_bounds)
        np.testing.assert_array_equal(other(X), k(X))
        np.testing.assert_equal(other.log_prior(), k.log_prior())

    @pytest.mark.parametrize("how", [how for how in COPIES if how != "copy.copy"])
    def test_nothing_is_shared(self, how):
        k = decorated()
        other = COPIES[how](k)
        other.free().set_prior("*", None).set_bounds("*", 1e-3, 1e3).set_bijector("*", bijectors.Exp())
        other.theta = other.theta + 1.0
        assert k == decorated()
        assert_kept(k.parameters, decorated().parameters)

    @pytest.mark.parametrize("kind", OWN)
    def test_leaves(self, kind):
        k = getattr(kernels, kind)(variance=2.5, active_dims=[1, 0])
        k.fix("variance").set_prior("variance", priors.Gamma(2.0, 1.0)).set_bounds("variance", 1.0, 3.0)
        for how, make in COPIES.items():
            other = make(k)
            assert type(other) is type(k), how
            assert other == k, how
            assert_kept(other.parameters, k.parameters)
            np.testing.assert_array_equal(other(X), k(X), err_msg=how)

    def test_degree_and_columns(self):
        k = Polynomial(degree=5, active_dims=[1]) * Constant(2.0)
        for how, make in COPIES.items():
            np.testing.assert_array_equal(make(k)(X), k(X), err_msg=how)

    def test_an_array_given_is_copied_by_a_sum(self):
        ells = np.array([1.0, 2.0])
        k = RBF(1.0, ells) + White()
        K = k(X)
        ells[:] = 100
        np.testing.assert_array_equal(k(X), K)

    def test_parts(self):
        """A sum holds copies of what its parts are now, settings included."""
        rbf = RBF(2.0, [1.0, 2.0]).fix("variance").set_prior("lengthscale", priors.Gamma(2.0, 1.0))
        for k in (rbf + White(), rbf * White()):
            assert len(k.parts) == 2
            assert k.parts[0] == rbf
            assert k.parts[0] is not rbf
            assert k.parameters["rbf.variance"].fixed
            assert k.parameters["rbf.lengthscale"].prior == priors.Gamma(2.0, 1.0)
            K = k(X)
            changed = rbf.copy()
            changed.set_params(variance=9.0)
            k.set_params(**{"rbf.variance": 7.0})
            assert rbf.variance == 2
            k.set_params(**{"rbf.variance": 2.0})
            np.testing.assert_array_equal(k(X), K)
        k = rbf + White()
        rbf.set_params(variance=9.0)
        rbf.free()
        assert k.parameters["rbf.variance"].value == 2
        assert k.parameters["rbf.variance"].fixed

    def test_one_kernel_twice(self):
        """k + k has two sets of parameters."""
        rbf = RBF(2.0)
        k = rbf + rbf
        k.set_params(**{"rbf_2.variance": 5.0})
        assert values(k)["rbf.variance"] == 2
        assert rbf.variance == 2


class TestEquality:
    def test_equal(self):
        assert tree() == tree()
        assert RBF(2.0, np.array([1.0, 2.0])) == RBF(2.0, [1.0, 2.0])
        assert RBF() + White() == RBF() + White()
        assert 2.0 * RBF() == Constant(2.0) * RBF()

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (RBF(2.0), RBF(3.0)),
            (RBF(1.0, 2.0), RBF(1.0, [2.0, 3.0])),
            (RBF(), Matern52()),
            (RBF(active_dims=[0]), RBF(active_dims=[1])),
            (RBF(active_dims=[0]), RBF()),
            (Polynomial(degree=2), Polynomial(degree=3)),
            (RationalQuadratic(alpha=1.0), RationalQuadratic(alpha=2.0)),
            (RBF() + White(), RBF() * White()),
            (RBF() + White(1.0), RBF() + White(2.0)),
            (RBF() + White(), RBF()),
            (RBF(), 1.0),
        ],
    )
    def test_different(self, one, other):
        assert one != other
        assert other != one

    def test_repr(self):
        """The expression that makes the kernel."""
        text = repr(Matern52(1.0, 0.75) * (RBF(2.0, 3.0, active_dims=[1]) + White(0.125)))
        for part in ("Matern52(", "RBF(", "White(", "0.75", "0.125", "active_dims", "*", "+"):
            assert part in text
        again = eval(text, vars(kernels).copy())
        np.testing.assert_array_equal(
            again(X), (Matern52(1.0, 0.75) * (RBF(2.0, 3.0, active_dims=[1]) + White(0.125)))(X)
        )
