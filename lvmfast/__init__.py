"""lvmfast."""
