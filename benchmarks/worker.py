"""Comparisons of the benchmark table in a process of its own, which ``lvmfast bench`` starts.

``python worker.py --list`` prints all rows as one JSON array. ``python worker.py TASKS``, an array of ``[row, dtype,
peer]``, prints one JSON object a line with a ``status``, in the order of the tasks. Libraries that choose their
threads once, when they start, find the environment and the processors limited.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def variables(n: int) -> dict[str, str]:
    """What tells the libraries to have n threads."""
    return dict.fromkeys(VARIABLES, str(n))


def keep_to(n: int) -> None:
    """This process on n processors, where the system knows how."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n])


def main(argv=None) -> int:
    """Print the rows, or how the comparisons end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="?", type=json.loads)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args(argv)
    # peers print what they like: it goes to the standard error
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if not arguments.list:
        keep_to(arguments.threads)
        os.environ.update(variables(arguments.threads))
    # after the limit: libraries start their threads when they are imported
    from rows import measurements
    from table import ROWS

    if arguments.list:
        print(json.dumps([row.described() for row in ROWS.values()]), file=answers)
        return 0
    try:
        for (row, dtype), tasks in itertools.groupby(arguments.tasks, key=lambda task: task[:2]):
            settings = [task[2] for task in tasks], dtype, arguments.threads, arguments.rounds, arguments.quick
            for found in measurements(ROWS[row], *settings):
                print(json.dumps({"row": row, "dtype": dtype, **found}), file=answers)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
