"""The best candidate of an acquisition function."""
