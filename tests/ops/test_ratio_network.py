"""The compiled training of log ratios against NumPy: narrow networks have kernels of their own."""

import numpy as np
import pytest
from reference import ratio as reference

import lvmfast as lvm
from lvmfast import _cpu
from lvmfast.nn import Dense, Sequential

FUNCTIONS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "linear": lambda x: x}
LOSSES = {"logistic": (0, 0.0, 0.0), "kl": (1, 1.0, 1.0), "reverse": (1, 0.0, 1.0), "pearson": (1, 2.0, 2.0)}
LOSSES |= {"neyman": (1, -1.0, 2.0), "hellinger": (1, 0.5, 0.25)}
NETWORKS = {"narrow": ((16, 32), 1, 300), "one": ((5,), 3, 129), "edges": ((33, 7), 7, 1000), "wide": ((100,), 4, 300)}


def problem(name, dtype=np.float64):
    """A network, rows and weights."""
    widths, d, n = NETWORKS[name]
    rng = np.random.default_rng(0)
    layers = [Dense(w, "relu" if i % 2 else "tanh") for i, w in enumerate(widths)]
    network = Sequential([*layers, Dense(1)]).build(d, dtype, seed=1)
    network.parameters = network.parameters + 0.1 * rng.normal(size=network.n_parameters)
    weights = rng.uniform(0.5, 1, n) * np.where(np.arange(n) < n // 3, 1, -1) / n
    weights[5] = 0
    return network, rng.normal(size=(n, d)).astype(dtype), weights.astype(dtype)


def compiled(network, loss):
    kind, alpha, factor = LOSSES[loss]
    made = _cpu.RatioNetwork64 if network.dtype == np.float64 else _cpu.RatioNetwork32
    return made(network.graph.numbers(), network.n_parameters, kind=kind, alpha=alpha, factor=factor)


def oracle(network, theta, X, weights, loss):
    parts, at = [], 0
    for layer, rows in zip(network.layers, (X.shape[1], *(layer.units for layer in network.layers)), strict=False):
        size = rows * layer.units
        kernel, bias = theta[at : at + size].reshape(rows, layer.units), theta[at + size : at + size + layer.units]
        parts.append((kernel, bias, FUNCTIONS[layer.activation]))
        at += size + layer.units
    s = reference.dense_chain(parts, X)[:, 0]
    kind, alpha, factor = LOSSES[loss]
    value = reference.power_loss(s, weights, alpha, factor) if kind else reference.logistic_loss(s, weights)
    return s, value


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_gradient_are_those_of_numpy(name, loss):
    network, X, weights = problem(name)
    theta, own = network.parameters, compiled(network, loss)
    value, gradient = own.evaluate(theta, X, weights, True)
    s, expected = oracle(network, theta, X, weights, loss)
    np.testing.assert_allclose(value[0], expected, rtol=1e-12)
    np.testing.assert_allclose(own.log_ratio(theta, X), s, rtol=0, atol=1e-13)
    assert own.evaluate(theta, X, weights, False)[1] is None
    rng = np.random.default_rng(1)
    for _ in range(3):  # along random directions
        way = rng.normal(size=theta.shape)
        h = 1e-6
        up, down = (oracle(network, theta + step * way, X, weights, loss)[1] for step in (h, -h))
        np.testing.assert_allclose(gradient @ way, (up - down) / (2 * h), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_float64_rounded(name):
    network, X, weights = problem(name, np.float32)
    double = Sequential(network.layers).build(X.shape[1], np.float64, seed=0)
    double.parameters = network.parameters
    for loss in LOSSES:
        value, gradient = compiled(network, loss).evaluate(network.parameters, X, weights, True)
        own = double.parameters, X.astype(np.float64), weights.astype(np.float64)
        wanted, slope = compiled(double, loss).evaluate(*own, True)
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient, slope, rtol=0, atol=2e-5 * np.abs(slope).max())


@pytest.mark.parametrize("name", ["edges", "wide"])
@pytest.mark.parametrize("batch", [None, 100])
def test_steps_are_those_of_the_rule_and_do_not_depend_on_calls_or_threads(name, batch):
    network, X, weights = problem(name)
    n, rates = len(X), np.array([1e-2, 2e-2, 1e-2])
    rows = None if batch is None else np.random.default_rng(2).permutation(n)[: 3 * batch].astype(np.int64)

    def train(parts, threads=1):
        lvm.set_num_threads(threads)
        theta, v, own = network.parameters.copy(), np.zeros(network.n_parameters), compiled(network, "logistic")
        losses = []
        for part in parts:
            chosen = None if rows is None else rows[part.start * batch : part.stop * batch]
            terms, done = own.train(theta, None, v, X, weights, chosen, batch or 0, rates[part], 1, [0.9, 0, 1e-7], 0.0)
            assert done == len(rates[part])
            losses.append(terms)
        return theta, v, np.concatenate(losses)

    before = lvm.get_num_threads()
    try:
        theta, v, terms = train([slice(0, 3)])
        for other in (train([slice(0, 3)], 2), train([slice(0, 1), slice(1, 3)])):
            for a, b in zip((theta, v, terms), other, strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        lvm.set_num_threads(before)
    expected, square = network.parameters.copy(), np.zeros(network.n_parameters)
    own = compiled(network, "logistic")
    for j, rate in enumerate(rates):
        x, w = X, weights
        if rows is not None:
            chosen = rows[j * batch : (j + 1) * batch]
            x, w = X[chosen], weights[chosen] * (n / batch)
        value, gradient = own.evaluate(expected, x, w, True)
        np.testing.assert_allclose(terms[j], [value[0], np.linalg.norm(gradient)], rtol=1e-12)
        square = 0.9 * square + 0.1 * gradient**2
        expected = expected - rate * gradient / np.sqrt(square + 1e-7)
    np.testing.assert_allclose(theta, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["edges", "wide"])
def test_a_row_that_is_not_finite_stops_before_its_step(name):
    network, X, weights = problem(name)
    X[250] = np.nan
    rows = np.arange(300, dtype=np.int64)
    theta, v = network.parameters.copy(), np.zeros(network.n_parameters)
    own = compiled(network, "logistic")
    terms, done = own.train(theta, None, v, X, weights, rows, 100, np.full(3, 1e-3), 1, [0.9, 0, 1e-7], 0.0)
    assert done == 2 and np.isnan(terms[2]).all()
    again, square = network.parameters.copy(), np.zeros(network.n_parameters)
    own.train(again, None, square, X, weights, rows[:200], 100, np.full(2, 1e-3), 1, [0.9, 0, 1e-7], 0.0)
    np.testing.assert_array_equal(theta, again)


def test_bad_arguments_of_the_compiled_class():
    network, X, weights = problem("one")
    own = compiled(network, "logistic")
    with pytest.raises(ValueError, match="one output"):
        two = Sequential([Dense(2)]).build(3, np.float64, seed=0)
        _cpu.RatioNetwork64(two.graph.numbers(), two.n_parameters, kind=0, alpha=0, factor=0)
    with pytest.raises(ValueError, match="weights"):
        own.evaluate(network.parameters, X, weights[:-1], True)
    with pytest.raises(ValueError, match="m must be given"):
        rates = np.full(1, 1e-3)
        own.train(network.parameters, None, None, X, weights, None, 0, rates, 0, [0.9, 0.999, 1e-7], 0.0)
