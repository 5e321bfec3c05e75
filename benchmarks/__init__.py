"""Benchmarks of lvmfast beside its peers; see the README."""
