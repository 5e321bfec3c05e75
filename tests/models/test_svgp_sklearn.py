"""Stochastic variational processes among scikit-learn's estimators: its checks, pipelines, copies and files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm


@parametrize_with_checks(
    [
        lvm.SVGP(max_iter=40, learning_rate=0.03),
        lvm.SVGP(likelihood="bernoulli", max_iter=15),
        lvm.SVGP(likelihood="softmax", max_iter=15),
    ]
)
def test_estimator(estimator, check):
    check(estimator)
