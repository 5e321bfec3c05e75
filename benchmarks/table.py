"""The benchmark table: all rows by name, operations before models. ``lvmfast bench`` runs it."""

from rows_gaussian_processes import GAUSSIAN_PROCESSES
from rows_models import MODELS
from rows_operations import OPERATIONS

ROWS = {row.name: row for row in (*OPERATIONS, *GAUSSIAN_PROCESSES, *MODELS)}
