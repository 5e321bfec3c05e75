"""Held-out log density by seconds of training, on 53,940 diamonds: ``python benchmarks/diamonds_svgp.py --data FILE``.

The file holds X (53940, 9), whose second column is the grade of the cut, and price. Two tasks: log price from all nine
columns ("regression", Gaussian noise), and whether the cut is Ideal from the eight others ("classification", logit).
All methods have the same training rows (90 %), batches of 1024, k-means' 500 inducing inputs, and initial parameters,
in standardised units. The clock runs from the end of the first step, which compiles, and rests while the density of
the held-out rows is computed, for all by the same formula: in nats per row, of log price as it is.

Every run writes a file to ``--results``, so that methods may come from several environments and settings be tried;
``--report`` reads them all. For each level of the density, which the best of the peers reaches after its seconds, a
half, a quarter and an eighth of them, the report has the time that each method needs with the best of its settings.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time

import numpy as np
from cases import threads
from peers.sparse_variational import PEERS, Start, natural_of
from ratios_kernels import DTYPES, keep_to
from scipy import special

TASKS = ("regression", "classification")
OURS = ("lvmfast", "lvmfast-natural")
IDEAL = 4
ROWS = 1024
# the best of 0.003, 0.01, 0.03 and 0.1 after a few hundred steps, with steps of natural gradients of 0.1 and 0.3
LEARNING_RATE = 0.03


class Problem:
    """Training and held-out rows in standardised units, and inducing inputs."""

    def __init__(self, path, task: str, dtype: str, m: int, results: pathlib.Path):
        with np.load(path) as file:
            X, price = file["X"].astype(float), file["price"].astype(float)
        self.task, self.likelihood = task, "gaussian" if task == "regression" else "bernoulli"
        y = np.log(price) if task == "regression" else (X[:, 1] == IDEAL).astype(float)
        if task == "classification":
            X = np.delete(X, 1, axis=1)
        order = np.random.default_rng(0).permutation(len(y))
        held, kept = np.split(order, [len(y) // 10])
        centre, spread = X[kept].mean(axis=0), X[kept].std(axis=0)
        X = (X - centre) / spread
        self.unit = 1.0
        if task == "regression":
            self.unit = y[kept].std()
            y = (y - y[kept].mean()) / self.unit
        self.X, self.y = X[kept].astype(dtype), y[kept].astype(dtype)
        self.X_held, self.y_held = X[held].astype(dtype), y[held]
        self.Z = self._inducing(X[kept], m, results / f"{task}_{m}.npy")
        share = y[kept].mean()
        self.constant = 0.0 if task == "regression" else float(np.log(share / (1 - share)))

    @staticmethod
    def _inducing(X, m: int, path: pathlib.Path) -> np.ndarray:
        """The k-means of the first run with these results."""
        if not path.exists():
            from sklearn.cluster import KMeans

            np.save(path, KMeans(m, n_init=1, max_iter=30, random_state=0).fit(X).cluster_centers_)
        return np.load(path)

    def start(self, natural: bool, learning_rate: float, step_size: float) -> Start:
        """Where every method starts."""
        settings = {"learning_rate": learning_rate, "step_size": step_size, "constant": self.constant}
        dtype = str(self.X.dtype)
        return Start.prior(self.Z, len(self.y), self.likelihood, dtype=dtype, natural=natural, **settings)

    def batches(self):
        """Without end: every row once per pass, the last few left out."""
        rng = np.random.default_rng(1)
        while True:
            order = rng.permutation(len(self.y))
            for begin in range(0, len(order) - ROWS + 1, ROWS):
                rows = order[begin : begin + ROWS]
                yield self.X[rows], self.y[rows]

    def density(self, mean, variance, noise: float) -> float:
        """Mean log predictive density of the held-out rows, in the units of the data."""
        y = self.y_held
        if self.task == "regression":
            total = variance + noise
            return float(np.mean(-0.5 * (np.log(2 * np.pi * total) + (y - mean) ** 2 / total)) - np.log(self.unit))
        nodes, weights = np.polynomial.hermite_e.hermegauss(64)
        f = mean[:, None] + np.sqrt(variance)[:, None] * nodes
        return float(np.mean(np.log(special.expit((2 * y - 1)[:, None] * f) @ (weights / weights.sum()))))


class Clock:
    """Seconds of training, steps and densities at marks that lie evenly on a logarithmic scale.

    ``end`` is in seconds, or in steps.
    """

    def __init__(self, end: float, by_steps: bool):
        self.marks, self.by_steps = list(np.geomspace(end / 120, end, 32)), by_steps
        self.steps, self.elapsed, self.since = 0, 0.0, None
        self.record: dict = {"seconds": [], "steps": [], "density": []}

    def after_step(self, evaluate) -> bool:
        """Whether the time is up; the first step is not counted."""
        now = time.perf_counter()
        self.steps += 1
        if self.since is not None:
            self.elapsed += now - self.since
        position = self.steps if self.by_steps else self.elapsed
        if self.steps == 1 or position >= self.marks[0]:
            for name, value in (("seconds", self.elapsed), ("steps", self.steps), ("density", evaluate())):
                self.record[name].append(value)
            while self.marks and position >= self.marks[0]:
                self.marks.pop(0)
        self.since = time.perf_counter()
        return not self.marks


def train_peer(name: str, problem: Problem, start: Start, clock: Clock) -> None:
    """Steps of a peer until the time is up."""
    trainer = PEERS[name](start)

    def evaluate():
        noise = trainer.noise() if problem.task == "regression" else 0.0
        return problem.density(*trainer.predict(problem.X_held), noise)

    for x, y in problem.batches():
        trainer.step(x, y)
        if clock.after_step(evaluate):
            return


def train_ours(name: str, problem: Problem, start: Start, clock: Clock, steps: int | None = None) -> None:
    """``SVGP.fit``, whose callback looks at the clock."""
    import lvmfast

    gaussian = problem.task == "regression"
    kinds = lvmfast.likelihoods
    model = lvmfast.SVGP(
        lvmfast.kernels.RBF(start.variance, start.lengthscale),
        likelihood=kinds.Gaussian(start.noise_variance) if gaussian else kinds.Bernoulli(),
        inducing=problem.Z,
        batch_size=ROWS,
        max_iter=steps or 10**6,  # the cosine schedule ends there
        optimizer="natural" if natural_of(name) else "adam",
        step_size=start.step_size or None,
        learning_rate=start.learning_rate,
        random_state=1,
        callback=lambda status: clock.after_step(lambda: evaluate(status.model())),
    )

    def evaluate(reached):
        mean, variance = (np.asarray(a, dtype=float).reshape(-1) for a in reached.predict_f(problem.X_held))
        return problem.density(mean, variance, reached.likelihood_.noise_variance if gaussian else 0.0)

    model.fit(problem.X, problem.y if gaussian else problem.y.astype(int))


def report(results: pathlib.Path, each: bool) -> None:
    """Tables of all runs in the folder; each: a line for every setting."""
    runs = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    for task in TASKS:
        for n_threads in sorted({run["threads"] for run in runs}):
            of_task = [run for run in runs if run["task"] == task and run["threads"] == n_threads]
            report_on(of_task, task, n_threads, each)


def report_on(runs: list, task: str, n_threads: int, each: bool) -> None:
    """One task with one number of threads."""
    theirs = [run for run in runs if not run["method"].startswith("lvmfast")]
    if not theirs:
        return
    best = max(theirs, key=lambda run: run["density"][-1])
    budget = best["seconds"][-1]
    levels = [
        float(np.interp(budget / k, best["seconds"], np.maximum.accumulate(best["density"]))) for k in (8, 4, 2, 1)
    ]
    print(
        f"{task}, {n_threads} thread(s): levels of {best['method']} {best['dtype']} after 1/8, 1/4, 1/2, 1 of its "
        f"{budget:.0f} s"
    )
    print(
        f"  {'seconds to reach':32}" + "".join(f"{level:12.4f}" for level in levels) + "   at the end  ms a step  rates"
    )
    groups: dict = {}
    for run in runs:
        settings = run["learning_rate"], run["step_size"], run.get("max_iter") or 0
        groups.setdefault((run["method"], run["dtype"], settings if each else ()), []).append(run)
    for (method, dtype, _), own in sorted(groups.items()):
        times = [min(reached(run, level) for run in own) for level in levels]
        end = max(own, key=lambda run: run["density"][-1])
        cells = "".join(f"{t:12.2f}" if np.isfinite(t) else f"{'-':>12}" for t in times)
        step = 1e3 * end["seconds"][-1] / (end["steps"][-1] - 1)
        rates = f"{end['learning_rate']:g}" + (f", {end['step_size']:g}" if natural_of(method) else "")
        rates += f", cosine over {end['max_iter']} steps" if end.get("max_iter") else ""
        print(f"  {method + ' ' + dtype:32}{cells}{end['density'][-1]:13.4f}{step:11.1f}  {rates}")


def reached(run: dict, level: float) -> float:
    """The first time at the level, linear between marks; infinite if it was not reached."""
    seconds, density = run["seconds"], np.maximum.accumulate(run["density"])
    if density[-1] < level:
        return np.inf
    k = int(np.argmax(density >= level))
    return seconds[0] if k == 0 else float(np.interp(level, density[k - 1 : k + 1], seconds[k - 1 : k + 1]))


def main() -> None:
    """All runs that are asked for, then the report."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", help="diamonds.npz")
    options.add_argument("--results", type=pathlib.Path, default=pathlib.Path("diamonds_results"))
    options.add_argument("--methods", nargs="*", default=[], choices=[*OURS, *PEERS])
    options.add_argument("--tasks", nargs="*", default=TASKS, choices=TASKS)
    options.add_argument("--dtypes", nargs="*", default=["float64"], choices=DTYPES)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seconds", type=float, default=60.0, help="of training, per run")
    options.add_argument("--steps", type=int, help="of training, instead of seconds: to try settings on a busy machine")
    options.add_argument(
        "--max-iter", type=int, help="of ours: steps, over which the rates fall by the default schedule"
    )
    options.add_argument("--inducing", type=int, default=500)
    options.add_argument("--learning-rates", nargs="*", type=float, help="of Adam; default: the best that was found")
    options.add_argument("--step-sizes", nargs="*", type=float, help="of natural gradients; 0: automatic, ours alone")
    options.add_argument("--report", action="store_true")
    options.add_argument("--each", action="store_true", help="in the report a line for every setting")
    arguments = options.parse_args()
    arguments.results.mkdir(exist_ok=True)
    if arguments.methods:
        keep_to(arguments.threads)
    for task in arguments.tasks:
        for dtype in arguments.dtypes if arguments.methods else []:
            problem = Problem(arguments.data, task, dtype, arguments.inducing, arguments.results)
            for method in arguments.methods:
                natural = natural_of(method)
                for rate in arguments.learning_rates or [LEARNING_RATE]:
                    default = [0.0 if method in OURS else 0.1]
                    for step in (arguments.step_sizes or default) if natural else [0.0]:
                        one_run(method, problem, problem.start(natural, rate, step), arguments)
    if arguments.report:
        report(arguments.results, arguments.each)


def one_run(method: str, problem: Problem, start: Start, arguments) -> None:
    """Train, print the end and write the record."""
    about = {"task": problem.task, "method": method, "dtype": start.dtype, "threads": arguments.threads}
    about |= {"learning_rate": start.learning_rate, "step_size": start.step_size}
    about["max_iter"] = arguments.max_iter if method in OURS else None
    clock = Clock(arguments.steps or arguments.seconds, bool(arguments.steps))
    with threads(arguments.threads):
        try:
            if method in OURS:
                train_ours(method, problem, start, clock, arguments.max_iter)
            else:
                train_peer(method, problem, start, clock)
        except Exception as error:  # a peer's factorisation may fail: what it had reached counts
            about["error"] = f"{type(error).__name__}: {error}"[:200]
    record = clock.record
    end = f"{record['density'][-1]:.4f} after {record['steps'][-1]} steps" if record["density"] else "nothing"
    print(" ".join(f"{name}={value}" for name, value in about.items()), "|", end, flush=True)
    if record["density"]:
        name = "_".join(str(value) for value in list(about.values())[:7])
        (arguments.results / f"{name}.json").write_text(json.dumps(about | record))


if __name__ == "__main__":
    main()
