"""Times of the GPLVM's evaluation beside its peers, in pairs: ``python benchmarks/ratios.py [--protocol]``.

Every row: our time, theirs, and theirs / ours, as min / median / max over the pairs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from cases import GplvmCase, assert_same_answer, paired_ratios, threads
from peers import PEERS, load

from lvmfast import GPLVM

# The kernel's own account of the process: its peak is reset before the first evaluation, which makes all scratch.
MEMORY_PROGRAM = """
import re
import numpy as np
from cases import GplvmCase

def resident(field):
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(field + r":\\s+(\\d+)", file.read()).group(1))

case = GplvmCase.digits()
n = len(case.Y)
np.ones((n, n)) @ np.ones((n, n))  # the BLAS makes its buffers
step = case.ours()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = resident("VmRSS")
step()
print((resident("VmHWM") - before) / (8 * n * n))
"""


def spread(values, scale=1.0, digits=1) -> str:
    """min / median / max."""
    return " / ".join(f"{scale * v:.{digits}f}" for v in (np.min(values), np.median(values), np.max(values)))


def steps(n_threads: int, rounds: int) -> None:
    """One evaluation against each peer and against the bare arithmetic."""
    case = GplvmCase.digits()
    ours = case.ours()
    rivals = {"arithmetic (SciPy)": case.arithmetic(), "ours, float32": case.ours("float32")}
    for name in PEERS:  # before the threads are limited: a limit reaches the libraries that are loaded
        module = load(name)
        available, reason = module.available()
        if not available:
            print(f"  {name}: skipped, {reason}")
            continue
        rivals[name] = case.peer(module)
        assert_same_answer(ours(), rivals[name]())
    with threads(n_threads):
        for name, rival in rivals.items():
            slow = name == "tfp_reference"
            a, b, ratio = paired_ratios(ours, rival, 3 if slow else rounds, 1 if slow else 4)
            print(f"  {name:20s} ours {spread(a, 1e3)} ms   theirs {spread(b, 1e3)} ms   ratio {spread(ratio, 1, 2)}")


def time_to_loss(module, center: bool) -> None:
    """The default fit against a peer's run of the reference protocol: seconds to the protocol's last loss."""
    case = GplvmCase.digits()
    Y = case.Y - case.Y.mean(axis=0) if center else case.Y
    begun = time.perf_counter()
    losses, _, _ = module.run_protocol(case.X, Y)
    theirs = time.perf_counter() - begun
    reached = []

    def callback(status):
        if status.loss < losses[-1] and not reached:
            reached.append((status.elapsed, status.n_evaluations))
        return False

    begun = time.perf_counter()
    model = GPLVM(2, center=center, callback=callback).fit(case.Y)
    ours = time.perf_counter() - begun
    print(
        f"  center={center}: protocol ends at {losses[-1]:.2f} after {theirs:.1f} s; ours passes it after "
        f"{reached[0][0]:.1f} s ({reached[0][1]} evaluations) "
        f"and ends at {model.loss_curve_[-1]:.2f} after {ours:.1f} s"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", action="store_true", help="also the reference protocol, by PyTorch")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    for n_threads in (1, 2):
        print(f"GPLVM value and gradient, N=1000, D=784, Q=2, float64, {n_threads} threads")
        steps(n_threads, arguments.rounds)
    extra = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    print(f"peak extra memory of one evaluation: {float(extra.stdout.split()[-1]):.2f} N^2 doubles")
    if arguments.protocol:
        torch = load("torch_autograd")
        for center in (False, True):
            time_to_loss(torch, center)


if __name__ == "__main__":
    main()
