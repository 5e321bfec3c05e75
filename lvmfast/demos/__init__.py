"""Whole workflows on real data, run by ``lvmfast demo NAME``."""
