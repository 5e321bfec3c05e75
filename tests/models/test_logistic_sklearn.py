"""Logistic regression among scikit-learn's estimators: its checks, pipelines, searches, names, copies and files."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm

Model = lvm.PolyaGammaLogisticRegression

# A row of weight 2 takes one draw from PG(2, z), two equal rows take two from PG(1, z): the same posterior, other numbers.
WEIGHTS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "the posterior is the same, its random draws are not"
    for kind in ("dense", "sparse")
}


def expected_failures(estimator):
    return WEIGHTS if estimator.method == "gibbs" else {}


@parametrize_with_checks(
    [
        Model(),
        Model(2.0, n_chains=1, n_samples=300, burn_in=50, thin=2, keep_omega=True, fit_intercept=False),
        Model(method="vi"),
    ],
    expected_failed_checks=expected_failures,
)
def test_estimator(estimator, check):
    check(estimator)
