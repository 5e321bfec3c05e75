"""Real data sets for examples, tests and benchmarks."""

from __future__ import annotations

from lvmfast.datasets._digits import load_mnist, load_mnist_sample
from lvmfast.datasets._snelson import load_snelson

__all__ = ["load_mnist", "load_mnist_sample", "load_snelson"]
