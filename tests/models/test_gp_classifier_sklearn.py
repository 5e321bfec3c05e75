"""The Gaussian process classifier among scikit-learn's estimators: checks, copies, files, warm starts, errors."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SHORT = {"n_samples": 20, "burn_in": 5, "n_chains": 2}


@parametrize_with_checks(
    [
        lvm.PolyaGammaGPClassifier(max_iter=20),
        lvm.PolyaGammaGPClassifier(optimize=False, mean=0.1),
        lvm.PolyaGammaGPClassifier(inducing=5, max_iter=10),
        lvm.PolyaGammaGPClassifier(inducing=5, batch_size=10, max_iter=3),
        lvm.PolyaGammaGPClassifier(method="gibbs", max_iter=5, **SHORT),
    ]
)
def test_estimator(estimator, check):
    check(estimator)
