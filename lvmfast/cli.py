"""The command ``lvmfast``: what is installed, the demos, and the benchmarks."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys

from lvmfast import _bench

EPOCHS = 120  # of the digits' generator, which takes half a minute

DEMOS = {
    "gplvm": "1,000 handwritten digits on a two-dimensional map",
    "polya-gamma": "Bayesian logistic regression by Gibbs sampling, and what it should find",
    "svgp": "sparse variational Gaussian processes: regression, classification and minibatches",
    "vae-factor": "a variational autoencoder as a nonlinear factor model, and the curves that it should find",
    "vae-conv": "a convolutional variational autoencoder on binarised digits",
    "vae-dense": "a dense variational autoencoder on grey digits",
    "density-ratio": "two densities told apart by a classifier and by kernels, and divergences from their ratio",
    "bijectors": "a banana-shaped density by a bijector, and by flows that learn it from samples",
    "implicit": "generators of digits and of points, learned through a density ratio",
    "knowledge-gradient": "where to observe next: the knowledge gradient step by step, and a loop that follows it",
}


def info() -> str:
    """Version, compiler, instruction set, BLAS, threads and devices, one per line."""
    from lvmfast import _backend, _machine

    known, (blas, blas_threads) = _machine.versions(), _machine.blas()
    module = _backend.cpu
    rows = {
        "lvmfast": known["lvmfast"],
        "Python": f"{known['python']} on {platform.system()} {platform.machine()}",
        "NumPy, SciPy": f"{known['numpy']}, {known['scipy']}",
        "compiler": module.compiler,
        "instruction set": f"{module.instruction_set()} (of {', '.join(module.instruction_sets())})",
        "BLAS (SciPy's)": f"{blas}, {blas_threads} threads, {_backend.blas_integer_bits}-bit integers",
        "threads": f"{module.num_threads()} of {_backend.available_cpus()} processors",
        "CUDA module": _backend.cuda_status(),
        "CuPy": _backend.cupy_status(),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="lvmfast", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="what is installed and in use")
    _bench.add_arguments(commands.add_parser("bench", help="times beside other libraries", description=_bench.__doc__))
    demo = commands.add_parser("demo", help="run a whole workflow on real data")
    demos = demo.add_subparsers(dest="name", required=True)
    gplvm = demos.add_parser("gplvm", help=DEMOS["gplvm"], description=DEMOS["gplvm"])
    gplvm.add_argument("--protocol", choices=("default", "reference"), default="default")
    gplvm.add_argument("--output", default="lvmfast-demo/gplvm", help="folder for the pictures (default: %(default)s)")
    gplvm.add_argument("--max-iter", type=int, help="iterations (default: that of the protocol)")
    gplvm.add_argument("--seed", type=int, default=0)
    gplvm.add_argument("--data", help="MNIST files (IDX or npz) instead of the digits in the package")
    gplvm.add_argument("--quiet", action="store_true")
    polya_gamma = demos.add_parser("polya-gamma", help=DEMOS["polya-gamma"], description=DEMOS["polya-gamma"])
    folder = "lvmfast-demo/polya-gamma"
    polya_gamma.add_argument("--output", default=folder, help="folder for the pictures (default: %(default)s)")
    polya_gamma.add_argument("--n", type=int, default=128, help="points (default: %(default)s)")
    polya_gamma.add_argument("--n-samples", type=int, default=1000, help="iterations of a chain (default: %(default)s)")
    polya_gamma.add_argument("--seed", type=int, default=0)
    polya_gamma.add_argument("--quiet", action="store_true")
    svgp = demos.add_parser("svgp", help=DEMOS["svgp"], description=DEMOS["svgp"])
    svgp.add_argument("--output", default="lvmfast-demo/svgp", help="folder for the pictures (default: %(default)s)")
    svgp.add_argument(
        "--inducing", type=int, default=12, help="inducing inputs of the first part (default: %(default)s)"
    )
    svgp.add_argument("--n", type=int, default=20_000, help="points of the last part (default: %(default)s)")
    svgp.add_argument("--max-iter", type=int, default=400, help="steps of each fit (default: %(default)s)")
    svgp.add_argument("--seed", type=int, default=0)
    svgp.add_argument("--quiet", action="store_true")
    for name, epochs in (("vae-factor", 200), ("vae-conv", 20), ("vae-dense", 50)):
        vae = demos.add_parser(name, help=DEMOS[name], description=DEMOS[name])
        folder = f"lvmfast-demo/{name}"
        vae.add_argument("--output", default=folder, help="folder for the pictures (default: %(default)s)")
        vae.add_argument("--seed", type=int, default=0)
        if name == "vae-factor":
            vae.add_argument("--max-iter", type=int, default=epochs, help="epochs (default: %(default)s)")
        else:
            text = f"reference: {epochs} epochs; default: more where the digits are few"
            vae.add_argument("--protocol", choices=("default", "reference"), default="default", help=text)
            vae.add_argument("--max-iter", type=int, help="epochs (default: those of the protocol)")
            text = "MNIST files (IDX or npz) instead of the digits in the package"
            vae.add_argument("--data", help=text)
        vae.add_argument("--quiet", action="store_true")
    for name, n, epochs in (("density-ratio", 5000, 500), ("bijectors", 5000, 60), ("implicit", None, None)):
        ratio = demos.add_parser(name, help=DEMOS[name], description=DEMOS[name])
        folder = f"lvmfast-demo/{name}"
        ratio.add_argument("--output", default=folder, help="folder for the pictures (default: %(default)s)")
        if n is not None:
            ratio.add_argument("--n", type=int, default=n, help="samples to learn from (default: %(default)s)")
            ratio.add_argument("--max-iter", type=int, default=epochs, help="epochs of a fit (default: %(default)s)")
        else:
            ratio.add_argument("--objective", default="kl", help="what the generators descend (default: %(default)s)")
            ratio.add_argument("--max-iter", type=int, default=EPOCHS, help="epochs with digits (default: %(default)s)")
            ratio.add_argument("--data", help="MNIST files (IDX or npz) instead of the digits in the package")
        ratio.add_argument("--seed", type=int, default=0)
        ratio.add_argument("--quiet", action="store_true")
    name, folder = "knowledge-gradient", "lvmfast-demo/knowledge-gradient"
    gradient = demos.add_parser(name, help=DEMOS[name], description=DEMOS[name])
    gradient.add_argument("--output", default=folder, help="folder for the pictures (default: %(default)s)")
    gradient.add_argument("--n", type=int, default=10, help="observations of the walk (default: %(default)s)")
    gradient.add_argument("--n-calls", type=int, default=15, help="observations of the loop (default: %(default)s)")
    gradient.add_argument("--seed", type=int, default=0, help="of observations and simulations (default: %(default)s)")
    gradient.add_argument("--quiet", action="store_true")
    return parser


def main(argv=None) -> int:
    """Entry point; returns the exit status."""
    arguments = vars(build_parser().parse_args(argv))
    command = arguments.pop("command")
    if command == "info":
        print(info())
        return 0
    if command == "bench":
        return _bench.main(**arguments)
    try:
        demo = importlib.import_module(f"lvmfast.demos.{arguments.pop('name').replace('-', '_')}")
        demo.run(**arguments)
    except (ImportError, OSError, ValueError) as error:
        print(f"lvmfast: {error}", file=sys.stderr)
        return 1
    return 0
