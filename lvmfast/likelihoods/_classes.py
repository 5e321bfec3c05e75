"""Likelihoods of classes, one latent function each."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend, random
from lvmfast._validation import as_float_array, check_integer, check_positive, common_dtype
from lvmfast.likelihoods._likelihood import Likelihood
from lvmfast.likelihoods._nodes import gauss_hermite, sobol_normal


class _Classes(Likelihood):
    """y is 0, ..., C - 1; f has C entries on its last axis, independent given mean and variance."""

    remedy = "number the classes from 0"

    @property
    def n_latents(self) -> int:
        """Latent functions per observation: one per class."""
        return self.n_classes

    @property
    def support(self) -> str:
        """What y must be."""
        return f"whole numbers from 0 to {self.n_classes - 1}"

    def _in_support(self, y, xp):
        return (y >= 0) & (y < self._checked_classes()) & (y == xp.floor(y))

    def _checked_classes(self) -> int:
        return check_integer(self.n_classes, "n_classes", 2)

    @_backend.memory_errors
    def expected_log_density(self, y, mean, variance, *, gradients=False):
        """``E log p(y | f)`` with ``f_c ~ N(mean_c, variance_c)``, point by point, and its derivatives.

        Parameters
        ----------
        y : array of shape (...)
            The number of the class.
        mean, variance : array of shape (..., C)
            ``variance >= 0``.
        gradients : bool, default=False

        Returns
        -------
        value : array of shape (...)
        by_mean, by_variance : array of shape (..., C)
            With ``gradients``: derivatives of the computed value.
        by_parameters : dict
            With ``gradients``: empty, there is no parameter to learn.
        """
        module, shape, dtype, y, mean, variance = self._class_arguments(y, mean, variance)
        value, by_mean, by_variance = self._compiled(module).expectations(y, mean, variance)
        value = value.reshape(shape).astype(dtype, copy=False)
        if not gradients:
            return value
        whole = (*shape, self.n_classes)
        return value, *(a.reshape(whole).astype(dtype, copy=False) for a in (by_mean, by_variance)), {}

    @_backend.memory_errors
    def log_predictive_density(self, y, mean, variance):
        """``log E p(y | f)`` with ``f_c ~ N(mean_c, variance_c)``, shape (...)."""
        module, shape, dtype, y, mean, variance = self._class_arguments(y, mean, variance)
        return self._compiled(module).probabilities(y, mean, variance).reshape(shape).astype(dtype, copy=False)

    @_backend.memory_errors
    def predict_proba(self, mean, variance):
        """``E p(y = c | f)`` with ``f_c ~ N(mean_c, variance_c)``, shape (..., C)."""
        module, shape, dtype, _, mean, variance = self._class_arguments(None, mean, variance)
        p = self._compiled(module).probabilities(None, mean, variance)
        return p.reshape(*shape, self.n_classes).astype(dtype, copy=False)

    def predict(self, mean, variance):
        """Means and variances of the indicators of the classes: p and ``p (1 - p)`` of :meth:`predict_proba`."""
        p = self.predict_proba(mean, variance)
        return p, p * (1 - p)

    def sample(self, f, *, rng=None, start=0):
        """Draws of classes, shape (...), given f of shape (..., C); see :meth:`Likelihood.sample`."""
        _, shape, dtype, _, at, _ = self._class_arguments(None, f, None, "f")
        p = self._probabilities_given(_backend.to_numpy(at).astype(np.float64)).cumsum(axis=1)
        u = random.uniform(size=len(p), rng=rng, start=start)
        y = np.minimum((p[:, :-1] < u[:, None]).sum(axis=1), self.n_classes - 1)
        return _backend.like(y.astype(dtype).reshape(shape), f)

    def _class_arguments(self, y, mean, variance, name="mean"):
        classes = self._checked_classes()
        given = {"y": y, name: mean, "variance": variance}
        module = _backend.module_for(**given)
        arrays = {key: as_float_array(value, key) for key, value in given.items() if value is not None}
        xp = _backend.namespace(*arrays.values())
        shapes = []
        for key, array in arrays.items():
            if key != "y" and (array.ndim < 1 or array.shape[-1] != classes):
                raise ValueError(f"{key} must have shape (..., {classes}), a column per class, got {array.shape}")
            shapes.append(array.shape if key == "y" else array.shape[:-1])
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            raise ValueError(f"{' and '.join(arrays)} must broadcast, got {' and '.join(map(str, shapes))}") from None
        self._check_values(arrays, xp, ())
        result = common_dtype(*(array for key, array in arrays.items() if key != "y"))
        dtype = common_dtype(*arrays.values())

        def flat(key):
            array = arrays.get(key)
            if array is None:
                return None
            whole = shape if key == "y" else (*shape, classes)
            rows = xp.ascontiguousarray(xp.broadcast_to(array, whole), dtype=dtype)
            return rows.reshape(-1) if key == "y" else rows.reshape(int(np.prod(shape)), classes)

        return module, shape, result, flat("y"), flat(name), flat("variance")

    def log_density(self, y, f):
        """``log p(y | f)``, shape (...), for f of shape (..., C)."""
        _, shape, dtype, y, f, _ = self._class_arguments(y, f, None, "f")
        xp = _backend.namespace(f)
        index = y.astype(np.int64)[:, None]
        value = xp.take_along_axis(self._log_probabilities_given(f.astype(np.float64), xp), index, axis=1)
        return value.reshape(shape).astype(dtype, copy=False)

    def _log_probabilities_given(self, f, xp):
        raise NotImplementedError

    def _probabilities_given(self, f):
        return np.exp(self._log_probabilities_given(f, np))


class Softmax(_Classes):
    r"""Classes: ``p(y = c | f) = exp(f_c) / sum_k exp(f_k)``; y is 0, ..., C - 1.

    Expectations have no closed form; they are means over ``n_samples`` fixed points that stand for a normal
    distribution in C dimensions: Sobol's, shifted, with every point's negative, and the covariance made I. The same
    points serve every observation and every call, so that an expectation is a smooth function, and derivatives are
    those of the mean that is computed. (By a variance below 1e-6: those of its limit.)

    Parameters
    ----------
    n_classes : int >= 2
    n_samples : int, default=256
        Even. ``E log p`` is within about 0.005 with 256, 0.003 with 1024 (variances of 0.2 to 2, ten classes).

    References
    ----------
    Kingma & Welling (2014), Auto-encoding variational Bayes, eq. 4 (reparametrisation); Owen (2013), Monte Carlo
    theory, methods and examples, ch. 15-17 (Sobol's points).

    Examples
    --------
    >>> from lvmfast.likelihoods import Softmax
    >>> Softmax(2).log_density([0.0], [[0.0, 0.0]]).round(4)
    array([-0.6931])
    """

    def __init__(self, n_classes, *, n_samples=256):
        super().__init__()
        self.n_classes = n_classes
        self.n_samples = n_samples

    def _compiled(self, module):
        n = check_integer(self.n_samples, "n_samples", 2)
        if n % 2:
            raise ValueError(f"n_samples must be even, as points come with their negatives, got {n}")
        return module.MulticlassLikelihood(self._checked_classes(), sobol_normal(n, self.n_classes), -1.0)

    def _log_probabilities_given(self, f, xp):
        f = f - f.max(axis=1, keepdims=True)
        return f - xp.log(xp.exp(f).sum(axis=1, keepdims=True))


class RobustMax(_Classes):
    r"""Classes with wrong labels: ``p(y = c | f) = 1 - epsilon`` if ``f_c`` is the largest, else ``epsilon / (C - 1)``.

    ``E log p = P log(1 - epsilon) + (1 - P) log(epsilon / (C - 1))``, where
    ``P = E prod_{c != y} Phi((f_y - m_c) / sqrt(v_c))``, ``f_y ~ N(m_y, v_y)``, by quadrature; of two classes in closed
    form.

    Parameters
    ----------
    n_classes : int >= 2
    epsilon : float > 0 and < 1, default=1e-3
        How often a label is wrong. Not learned.
    n_nodes : int, default=20
        Of Gauss-Hermite quadrature. P is within 2e-4 for variances like one another (0.5 to 1.5, ten classes), within
        7e-3 where they differ tenfold: a class with less variance than the label's makes a step of Phi.

    References
    ----------
    Hernández-Lobato, Hernández-Lobato & Dupont (2011), Robust multi-class Gaussian process classification, NIPS 24,
    eq. 3.

    Examples
    --------
    >>> from lvmfast.likelihoods import RobustMax
    >>> RobustMax(3, epsilon=0.01).log_density([0.0], [[2.0, 1.0, 0.0]]).round(4)
    array([-0.0101])
    """

    def __init__(self, n_classes, epsilon=1e-3, *, n_nodes=20):
        super().__init__()
        self.n_classes = n_classes
        self.epsilon = epsilon
        self.n_nodes = n_nodes

    def _checked_epsilon(self) -> float:
        epsilon = check_positive(self.epsilon, "epsilon")
        if epsilon >= 1:
            raise ValueError(f"epsilon must be a number > 0 and < 1, got {self.epsilon!r}")
        return epsilon

    def _compiled(self, module):
        nodes = np.ascontiguousarray(gauss_hermite(self.n_nodes)[:2])
        return module.MulticlassLikelihood(self._checked_classes(), nodes, self._checked_epsilon())

    def _log_probabilities_given(self, f, xp):
        epsilon = self._checked_epsilon()
        largest = xp.arange(self.n_classes)[None, :] == f.argmax(axis=1)[:, None]
        return xp.where(largest, np.log1p(-epsilon), np.log(epsilon / (self.n_classes - 1)))
