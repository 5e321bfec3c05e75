"""Compiles the host module of the CUDA sources."""

from __future__ import annotations

import concurrent.futures
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pybind11

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNTIME = sorted(HERE.glob("shim*.cpp")) + [ROOT / "csrc/device/blas.cpp", ROOT / "csrc/device/polya_gamma_tables.cpp"]
# Files of a unit are compiled as one, in half the time: templates that they share are compiled once.
OPERATIONS = [
    ["bind/cuda_kernels", "bind/cuda_linalg", "bind/cuda_likelihoods"],
    ["cuda/gram_f64", "cuda/gram_f32", "cuda/cholesky_update", "cuda/polya_gamma"],
    ["cuda/context"],
]
MODELS = [
    [f"bind/cuda_{name}" for name in ("models", "sgpr", "svgp", "gp_classifier", "logistic", "bayesopt")],
    [f"bind/cuda_{name}" for name in ("network", "vae", "density_ratio", "flow", "implicit", "bijectors", "mixture")],
    ["cuda/taps_f64"],
    ["cuda/taps_f32"],
]
FLAGS = ["-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-Wall", "-Wextra"]
FLAGS += ["-Wno-psabi", "-Wno-unknown-pragmas", "-DLVM_SHIM", '-DLVM_VERSION="shim"', '-DLVM_COMPILER="host"']
# The sanitizers see device memory only where it comes from malloc.
SANITIZE = {
    "address": ["-fsanitize=address", "-DLVM_SHIM_MALLOC", "-fno-omit-frame-pointer"],
    "undefined": ["-fsanitize=undefined", "-fno-sanitize-recover=all"],
}


def _flags(sanitize: str | None) -> list[str]:
    flags = list(FLAGS)
    for name in sanitize.split(",") if sanitize else []:
        flags += ["-g", *SANITIZE[name]]  # without it a fifth of the compiler's time is saved
    return flags


def _digest(*parts: bytes) -> str:
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little") + part)
    return state.hexdigest()[:20]


def _with_headers(sources: Sequence[Path]) -> list[Path]:
    """The sources and what they include by name of csrc and of this folder, to the end."""
    found = list(sources)
    for path in found:  # grows
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text(), re.MULTILINE):
            candidates = (folder / name for folder in (path.parent, ROOT / "csrc", HERE))
            header = next((candidate for candidate in candidates if candidate.exists()), None)
            if header and header not in found:
                found.append(header)
    return found


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # sanitizers: not for it
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def _into(path: Path, command: list[str]) -> Path:
    """``path``, made by the command (-o is added) if it is not there; whoever runs at the same time sees all or none.

    Parameters
    ----------
    path : Path
        What the command makes.
    command : list of str
        The compiler's command line.
    """
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            _run([*command, "-o", str(made)])
            os.replace(made, path)
    return path


def sources_of(models: bool = True) -> list[list[Path]]:
    """What the simulated ``lvmfast._cuda`` is made of, with the models or without, by unit."""
    units = [[ROOT / f"csrc/{name}.cu" for name in unit] for unit in (MODELS if models else []) + OPERATIONS]
    return [*units, *([path] for path in (HERE / "module_shim.cpp", *RUNTIME))]


def build_shim(
    cache_dir: Path,
    *,
    sanitize: str | None = None,
    units: Sequence[Sequence[Path]] | None = None,
    name: str = "_cuda_shim",
) -> Path:
    """The host module, compiled unless an equal one is in the cache.

    Parameters
    ----------
    cache_dir : Path
        Folder of objects and modules, each named by what it is made of.
    sanitize : str, optional
        "address", "undefined" or "address,undefined". The first needs the sanitizer's library preloaded.
    units : sequence of sequences of Path, optional
        What to compile, the files of a unit as one; one of them holds PYBIND11_MODULE of that name. By default all of
        ``lvmfast._cuda``, and for the sanitizers, which compile for minutes, its operations without the models.
    name : str
        The module's.
    """
    cache_dir = Path(cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CXX", "c++")
    flags = _flags(sanitize)
    if units is None:
        units = sources_of(models=not sanitize)
        flags += ["-DLVM_SHIM_WITHOUT_MODELS"] if sanitize else []
    includes = [ROOT / "csrc", HERE, pybind11.get_include(), sysconfig.get_paths()["include"]]
    includes = [f"-I{folder}" for folder in includes[:2]] + [f"-isystem{folder}" for folder in includes[2:]]
    common = " ".join([compiler, *flags, *includes]).encode()

    def compile_one(unit: Sequence[Path]) -> Path:
        contents = [part for path in _with_headers(unit) for part in (bytes(path), path.read_bytes())]
        target = cache_dir / f"{unit[0].stem}-{_digest(common, *contents)}.o"
        before = [word for path in unit[:-1] for word in ("-include", str(path))]
        return _into(target, [compiler, *flags, *includes, *before, "-x", "c++", "-c", str(unit[-1])])

    with open(cache_dir / "lock", "w") as lock, concurrent.futures.ThreadPoolExecutor(2) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes at the same time waits for the objects
        objects = list(pool.map(compile_one, units))
        folder = cache_dir / _digest(*(path.name.encode() for path in objects))
        folder.mkdir(exist_ok=True)
        link = [compiler, *flags, "-shared", *map(str, objects)]
        return _into(folder / (name + sysconfig.get_config_var("EXT_SUFFIX")), link)


def load_shim(path: Path) -> ModuleType:
    """The module at the path.

    Parameters
    ----------
    path : Path
        What ``build_shim`` returned.
    """
    name = path.name.split(".")[0]
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, path, loader=loader))
    loader.exec_module(module)
    return module
