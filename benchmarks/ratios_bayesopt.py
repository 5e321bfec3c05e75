"""Times of the knowledge gradient beside BoTorch, in pairs, and whole loops: ``python benchmarks/ratios_bayesopt.py``.

Every line: our time and theirs / ours, as min / median / max over the pairs, with 64 fantasies, for

evaluate   the knowledge gradient of 100 candidates, inner minimisations included, with the same normal numbers,
           theirs with 2 restarts of 32 raw samples, which are enough for the same minima;
one_shot   the one-shot form of 10 candidates with its gradients, with the same normal numbers;
maximize   the best candidate, from the fitted model: ours by the defaults of ``maximize``, theirs with 10 restarts of
           512 raw samples.

Posteriors are compared first, to 1e-8. Then the answers: our inner minima are no higher than theirs, one-shot values
and gradients are the same, and by 4,096 fantasies our best candidate is no worse than theirs by more than a hundredth.

``--growth`` has our time of a candidate with its gradient by the number of observations instead, and the power between
one number and the next.

``--loops`` runs 30 steps from the same first points with the same noise instead, for 20 seeds, and pairs the regrets of
what each recommends at the end by their seeds. ``--theirs FILE`` takes the peer's loops from lines of JSON that
``--output FILE`` wrote in another run. Times of loops are processor seconds of asking and telling, fits included; more
threads do not lower them, so that ``--threads 1`` is what to compare.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from cases import threads
from peers.bayesian_optimization import (
    CASES,
    PEERS,
    PROBLEMS,
    KnowledgeGradientCase,
    KnowledgeGradientPeer,
    Problem,
    Unavailable,
    botorch_loop,
    hartmann,
    start_of_loop,
)
from ratios_kernels import compare, for_each_thread_count, parser, report, spread
from scipy import stats


def even_weights(case: KnowledgeGradientCase):
    """Ours with outcomes that all count the same, as the peer's do."""
    from lvmfast.bayesopt import KnowledgeGradient

    n_fantasies = case.fantasy_points.shape[1]
    return KnowledgeGradient(case.fitted(), case.problem.bounds, n_fantasies=n_fantasies, sampling="sobol")


def assert_same_model(case: KnowledgeGradientCase, ours, peer: KnowledgeGradientPeer) -> None:
    """Means and variances at the candidates agree to 1e-8, the least of the mean to 1e-6."""
    mean, std = ours.model.predict(case.candidates, return_std=True)
    their_mean, their_variance = peer.posterior(case.candidates)
    np.testing.assert_allclose(their_mean, mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(their_variance, std**2, rtol=0, atol=1e-8)
    np.testing.assert_allclose(peer.present(), ours.predictive_minimum, rtol=0, atol=1e-6)


def checked_evaluate(case, ours, peer):
    """Both, after their answers: expected least means, theirs no lower than ours."""
    normals = ours.base_samples[:, 0]

    def theirs():
        return peer.evaluate(case.candidates, normals)

    gaps = theirs() - (ours.predictive_minimum - ours(case.candidates))
    assert gaps.min() > -1e-7, f"an inner minimum of ours is higher than theirs by {-gaps.min():.2g}"
    return lambda: ours(case.candidates), theirs, f"their minima less ours {gaps.min():.1e} to {gaps.max():.1e}"


def checked_one_shot(case, ours, peer):
    """Both, after their answers, which are the same."""
    normals = ours.base_samples[:, 0]
    points = case.fantasy_points
    X = case.candidates[: len(points)]

    def theirs():
        return peer.one_shot(X, points, normals)

    value, d_X, d_points = ours.one_shot(X, points)
    their_value, *their_gradients = theirs()
    np.testing.assert_allclose(ours.predictive_minimum - their_value, value, rtol=0, atol=1e-6)
    for mine, found in zip((d_X, d_points), their_gradients, strict=True):
        np.testing.assert_allclose(-found, mine, rtol=0, atol=1e-5 * np.abs(mine).max())
    return lambda: ours.one_shot(X, points), theirs, ""


def checked_maximize(case, ours, peer):
    """Both, after their answers by many fantasies."""
    from lvmfast.bayesopt import KnowledgeGradient

    judge = KnowledgeGradient(ours.model, case.problem.bounds, n_fantasies=4096)
    model, n_fantasies = ours.model, len(ours.weights)

    def mine():
        return KnowledgeGradient(model, case.problem.bounds, n_fantasies=n_fantasies).maximize(random_state=0).x

    def theirs():
        return peer.maximize(n_fantasies, 0)

    value, found = judge(np.array([mine(), theirs()]))
    assert value > 0.99 * found, f"knowledge gradient of our candidate {value:.6g}, of theirs {found:.6g}"
    return mine, theirs, f"knowledge gradient {value:.6f}, theirs {found:.6f}"


CHECKED = {"evaluate": checked_evaluate, "one_shot": checked_one_shot, "maximize": checked_maximize}


def lines(case: KnowledgeGradientCase, arguments, n_threads: int, medians: dict) -> None:
    """All operations and peers for one case."""
    ours = even_weights(case)
    for name in arguments.peers:
        try:
            peer = PEERS[name](case, arguments.restarts, arguments.raw_samples)
        except Unavailable as reason:
            print(f"  {case.name} {name}: skipped, {reason}", flush=True)
            continue
        with threads(n_threads):  # again: the peer's library may have come with the peer
            assert_same_model(case, ours, peer)
            for operation in arguments.operations:
                mine, theirs, note = CHECKED[operation](case, ours, peer)
                seconds, ratios = compare(mine, theirs, arguments.rounds)
                title = f"{case.name} {operation} {name} {n_threads} thread(s)"
                print(f"  {title} | {1e3 * seconds.min():.3f} ms {spread(ratios)} | {note}".rstrip(" |"), flush=True)
                medians.setdefault(f"{name} {operation}", []).append(np.median(ratios))


def growth(arguments) -> None:
    """Time of a candidate by the number n of observations; the power of n between neighbours."""
    import lvmfast
    from lvmfast.bayesopt import KnowledgeGradient

    rng = np.random.default_rng(0)
    before = None
    for n in (500, 1000, 2000) if arguments.quick else (500, 1000, 2000, 4000):
        X = rng.uniform(size=(n, 6))
        kernel = lvmfast.kernels.Matern52(0.1, np.full(6, 0.4))
        model = lvmfast.GPR(kernel, noise_variance=1e-4, optimizer=None).fit(X, np.array([hartmann(x) for x in X]))
        ours = KnowledgeGradient(model, PROBLEMS["hartmann"].bounds)
        candidates = rng.uniform(size=(20, 6))
        seconds = []
        for _ in range(arguments.rounds):
            begun = time.perf_counter()
            ours.value_and_gradient(candidates)
            seconds.append((time.perf_counter() - begun) / len(candidates))
        power = "" if before is None else f", power {np.log2(min(seconds) / before):.2f}"
        print(f"  n={n}: {1e3 * min(seconds):.3f} ms a candidate{power}", flush=True)
        before = min(seconds)


def our_loop(problem: Problem, seed: int) -> dict:
    """``Optimizer`` told of the first points, then asked and told; see ``peers.bayesian_optimization.botorch_loop``."""
    from lvmfast.bayesopt import Optimizer

    X, y, noise = start_of_loop(problem, seed)
    dimensions = list(zip(problem.low, problem.high, strict=True))
    begun = time.process_time()
    optimizer = Optimizer(dimensions, acquisition="kg", n_initial_points=len(X), random_state=seed)
    optimizer.tell(X.tolist(), y.tolist())
    for e in noise:
        x = optimizer.ask()
        result = optimizer.tell(x, problem.f(x) + e)
    seconds = time.process_time() - begun
    return {"seconds": seconds, "value": problem.f(result.x_model), "best": min(map(problem.f, result.x_iters))}


def loops(arguments, n_threads: int) -> None:
    """All seeds of all problems, ours and theirs, and how their regrets compare."""
    known = {}
    for path in arguments.theirs:
        rows = [line for line in Path(path).read_text().splitlines() if line.startswith("{")]
        known |= {(run["problem"], run["seed"]): run for run in map(json.loads, rows)}
    for name in arguments.cases:
        problem, pairs = PROBLEMS[name], []
        for seed in range(arguments.seeds):
            if not arguments.theirs:
                run = {"problem": name, "seed": seed} | botorch_loop(problem, seed)
                known[name, seed] = run
                if arguments.output:
                    with open(arguments.output, "a") as file:
                        print(json.dumps(run), file=file)
            if (name, seed) not in known:
                continue
            with threads(n_threads):
                pairs.append((our_loop(problem, seed), known[name, seed]))
            mine, theirs = pairs[-1]
            regrets = [run["value"] - problem.minimum for run in pairs[-1]]
            print(
                f"  {name} seed {seed}: regret {regrets[0]:.3e}, theirs {regrets[1]:.3e}; "
                f"{mine['seconds']:.2f} s, theirs {their_seconds(theirs):.2f} s",
                flush=True,
            )
        summary(name, problem, pairs)


def their_seconds(run: dict) -> float:
    """Of fits and acquisition together."""
    return run["fit"] + run["acq"]


def summary(name: str, problem: Problem, pairs: list[tuple[dict, dict]]) -> None:
    """Regrets in pairs, and times."""
    if not pairs:
        print(f"  {name}: no seed that both have", flush=True)
        return
    ours, others = np.array([[run["value"] - problem.minimum for run in pair] for pair in pairs]).T
    for how, average in (("median", np.median), ("mean", np.mean)):
        print(f"  {name}: {how} regret {average(ours):.3e}, theirs {average(others):.3e}", flush=True)
    lower = int(np.sum(ours < others))
    p = stats.wilcoxon(ours, others).pvalue
    print(f"  {name}: lower in {lower} of {len(pairs)} seeds, Wilcoxon's signed-rank test p = {p:.3f}", flush=True)
    seconds = np.median([mine["seconds"] for mine, _ in pairs])
    ratios = np.array([their_seconds(theirs) / mine["seconds"] for mine, theirs in pairs])
    print(f"  {name}: median {seconds:.2f} s a loop, ratios {spread(ratios)}", flush=True)


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, None)
    options.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    options.add_argument("--operations", nargs="*", default=list(CHECKED), choices=list(CHECKED))
    options.add_argument("--restarts", type=int, default=2, help="of the peer's inner minimisation in evaluate")
    options.add_argument("--raw-samples", type=int, default=32, help="of the peer's inner minimisation in evaluate")
    options.add_argument("--growth", action="store_true", help="our time by the number of observations instead")
    options.add_argument("--loops", action="store_true", help="whole loops instead")
    options.add_argument("--seeds", type=int, default=20, help="loops of each problem")
    options.add_argument("--theirs", nargs="*", default=[], help="files with the peer's loops, one JSON a line")
    options.add_argument("--output", help="file to which the peer's loops are appended")
    arguments = options.parse_args()

    def run(n_threads: int) -> None:
        if arguments.loops:
            loops(arguments, n_threads)
            return
        if arguments.growth:
            growth(arguments)
            return
        medians: dict = {}
        sizes = {"n_candidates": 10, "batch": 2} if arguments.quick else {}
        for name in arguments.cases:
            lines(KnowledgeGradientCase.random(name, **sizes), arguments, n_threads, medians)
        report(medians, n_threads)

    if arguments.quick:
        arguments.rounds = 3
    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
