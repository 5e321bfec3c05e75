"""Files of fitted models: see :mod:`lvmfast._saving`."""

from lvmfast._saving import FORMAT, jsonable, read_model, write_model

__all__ = ["FORMAT", "jsonable", "read_model", "write_model"]
