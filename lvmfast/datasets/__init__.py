"""Real data sets for examples, tests and benchmarks."""

from __future__ import annotations

from lvmfast.datasets._digits import load_mnist, load_mnist_sample

__all__ = ["load_mnist", "load_mnist_sample"]
