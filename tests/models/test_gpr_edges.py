"""GPR: what must not be shared, lost or silently wrong."""

from __future__ import annotations

import numpy as np
import pytest

import lvmfast as lvm
from lvmfast.bijectors import Softplus
from lvmfast.exceptions import NonFiniteError
from lvmfast.kernels import RBF, Linear, Matern12

pd = pytest.importorskip("pandas")


def data(n=40, q=2):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (n, q))
    return X, np.sin(2 * X[:, 0]) + 0.1 * rng.standard_normal(n)


def kept(kernel, **options):
    return lvm.GPR(kernel, noise_variance=0.05, optimizer=None, **options)


def test_changing_the_kernel_afterwards_changes_no_prediction():
    X, y = data()
    model = kept(RBF()).fit(X, y)
    more = model.condition_on(X[:2] + 3, y[:2])
    before = [m.predict(X + 0.1, return_std=True) for m in (model, more)]
    model.kernel_.variance = 100.0
    for m, (mean, std) in zip((model, more), before, strict=True):
        np.testing.assert_array_equal(m.predict(X + 0.1, return_std=True), (mean, std))


def test_a_value_just_above_a_floor_is_kept():
    X, y = data()
    model = kept(RBF(1.0, 1.0).set_bijector("*", Softplus(0.6))).fit(X, y)
    value, _ = model.log_marginal_likelihood(gradient=True)
    np.testing.assert_allclose(value, model.log_marginal_likelihood(), rtol=1e-12)


def test_conditioned_float32_models_survive_a_file(tmp_path):
    X, y = (a.astype(np.float32) for a in data())
    model = kept(RBF()).fit(X, y).condition_on(np.array([[0.1, 1 / 3]]), [0.5])
    model.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(lvm.GPR.load(tmp_path / "m.npz").predict(X), model.predict(X))


@pytest.mark.parametrize("options", [{"jitter": np.array(1e-6)}, {"noise_variance": np.array(0.1)}])
def test_numbers_in_arrays_are_saved(tmp_path, options):
    X, y = data()
    lvm.GPR(RBF(), optimizer=None, **options).fit(X, y).save(tmp_path / "m.npz")
    loaded = lvm.GPR.load(tmp_path / "m.npz")
    name, value = next(iter(options.items()))
    assert getattr(loaded, name) == value and loaded.fit(X, y)


def test_a_kernel_of_a_users_own_class_is_not_saved(tmp_path):
    class Own(RBF):
        pass

    X, y = data()
    with pytest.raises(TypeError, match="kernel must be one of lvmfast.kernels to be saved, got a Own"):
        kept(Own()).fit(X, y).save(tmp_path / "m.npz")


def test_columns_of_a_data_frame_are_checked_everywhere():
    X, y = data()
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = kept(RBF()).fit(frame, y)
    paths, fantasies = model.pathwise_samples(2, random_state=0), model.fantasize(frame[:1], [[0.0], [1.0]])
    np.testing.assert_array_equal(paths(frame), paths(X))
    for call in (paths, fantasies.predict):
        with pytest.raises(ValueError, match=r"X must have the columns \['a', 'b'\] in this order, got \['b', 'a'\]"):
            call(frame[["b", "a"]])


def test_a_prediction_that_overflows_is_an_error():
    X, y = data()
    model = kept(Linear()).fit(X, y)
    with pytest.raises(NonFiniteError, match="the prediction is not finite"):
        model.predict(np.full((1, 2), 1e200), return_std=True)


@pytest.mark.parametrize("q", [3, 4])
def test_matern12_with_rows_that_almost_coincide(q):
    X, y = data(30, q)
    X, y = np.vstack([X, (X / 0.1) * 0.1]), np.concatenate([y, y + 0.01])
    model = lvm.GPR(Matern12(), noise_variance=1e-4, optimizer=None, mean="zero").fit(X, y)
    theta = np.array([0.0, 0.0, np.log(1e-4)])
    _, gradient = model.log_marginal_likelihood(theta, gradient=True)
    for k, step in enumerate(1e-5 * np.eye(3)):
        up, down = (model.log_marginal_likelihood(theta + s * step) for s in (1, -1))
        np.testing.assert_allclose(gradient[k], (up - down) / 2e-5, rtol=1e-4)
