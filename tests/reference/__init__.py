"""Slow, plain oracles for every operation; nothing here imports the library under test."""
