"""Models on the GPU: the same answers as on the CPU, arrays where their users keep them, files and pickles."""

from __future__ import annotations

import pickle
import zlib

import numpy as np
import pytest
from device.bayesopt_cases import BAYESOPT
from device.cases import Device, compare, flat, same_bits
from device.flow_cases import FLOWS
from device.gp_classifier_cases import GP_CLASSIFIER
from device.gplvm_cases import GPLVM, searched
from device.gpr_cases import GPR
from device.grid_latent_cases import GRID_LATENT
from device.implicit_cases import IMPLICIT
from device.logistic_cases import LOGISTIC
from device.network_cases import NETWORKS
from device.ratio_cases import RATIO
from device.sgpr_cases import SGPR
from device.svgp_cases import SVGP
from device.vae_cases import VAE
from helpers import observations, tolerance

import lvmfast as lvm
from lvmfast import _gpu
from lvmfast.exceptions import DeviceError

pytestmark = pytest.mark.filterwarnings("ignore:the fit ended before convergence")
CASES = {f"GPR: {name}": case for name, case in GPR.items()} | {f"GPLVM: {name}": case for name, case in GPLVM.items()}
CASES |= {f"logistic: {name}": case for name, case in LOGISTIC.items()}
CASES |= {f"PolyaGammaGPClassifier: {name}": case for name, case in GP_CLASSIFIER.items()}
CASES |= {f"SGPR: {name}": case for name, case in SGPR.items()}
CASES |= {f"network: {name}": case for name, case in NETWORKS.items()}
CASES |= {f"density ratio: {name}": case for name, case in RATIO.items()}
CASES |= {f"SVGP: {name}": case for name, case in SVGP.items()}
CASES |= {f"VAE: {name}": case for name, case in VAE.items()}
CASES |= {f"implicit: {name}": case for name, case in IMPLICIT.items()}
CASES |= {f"flow: {name}": case for name, case in FLOWS.items()}
CASES |= {f"bayesopt: {name}": case for name, case in BAYESOPT.items()}
CASES |= {f"grid latent: {name}": case for name, case in GRID_LATENT.items()}
X, Y = np.random.default_rng(0).uniform(-2, 2, (20, 2)), observations(20, 3)
NEW = X[:5] + 0.25


@pytest.mark.parametrize("name", CASES)
def test_parity(devices, seeded, dtype, name):
    """Near the CPU's answers, and the oracle's; in float32 also the same bits again, in whatever order threads run."""
    case = CASES[name]
    arguments = case.inputs(np.random.default_rng(zlib.crc32(name.encode())), dtype)
    expected, actual = (device.run(case, arguments) for device in (devices.cpu, devices.gpu))
    compare(actual, expected, case.allowed(dtype))
    if case.oracle is not None:
        compare(actual, flat(case.oracle(*arguments)), case.allowed(dtype))
    if dtype == np.float64:
        return
    seeded(11)
    again = devices.gpu.run(case, arguments)
    assert all(same_bits(again[key], value) for key, value in actual.items() if value is not None)


def fitted(kind, xp, **params):
    """A model of the kind, fitted to arrays of ``xp``."""
    place = xp.asarray
    if kind == "GPR":
        return lvm.GPR(lvm.kernels.RBF(), noise_variance=0.1, max_iter=2, **params).fit(place(X), place(Y))
    if kind == "logistic":
        model = lvm.PolyaGammaLogisticRegression(n_samples=5, burn_in=2, n_chains=2, random_state=0, keep_omega=True)
        return model.set_params(**params).fit(place(X), place((Y[:, 0] > Y[:, 0].mean()).astype(float)))
    if kind in CLASSIFIERS:
        params = {"random_state": 1, **CLASSIFIERS[kind], **params}
        return lvm.PolyaGammaGPClassifier(lvm.kernels.RBF(), **params).fit(place(X), place(Y[:, 0] > Y[0, 0]))
    if kind == "SGPR":
        return lvm.SGPR(lvm.kernels.RBF(), inducing=6, random_state=0, max_iter=2, **params).fit(place(X), place(Y))
    if kind == "SVGP":
        params = {"inducing": 6, "random_state": 0, "max_iter": 2, "batch_size": 8, **params}
        return lvm.SVGP(lvm.kernels.RBF(), **params).fit(place(X), place(Y))
    return lvm.GPLVM(max_iter=2, **params).fit(place(Y))


CLASSIFIERS = {
    "classifier": {"max_iter": 2},
    "sparse classifier": {"max_iter": 2, "inducing": 4},
    "gibbs": {"method": "gibbs", "optimize": False, "n_samples": 3, "burn_in": 1, "n_chains": 2},
}
CLASSIFIER_ANSWERS = {
    "proba": lambda m, place: m.predict_proba(place(NEW)),
    "predict": lambda m, place: m.decision_function(place(NEW), return_std=True),
    "sample": lambda m, place: m.sample_f(place(NEW), 2),
    "attributes": lambda m, _: tuple(
        getattr(m, name) for name in ("X_train_", "f_draws_", "inducing_points_") if hasattr(m, name)
    ),
}
ANSWERS = {
    **dict.fromkeys(CLASSIFIERS, CLASSIFIER_ANSWERS),
    "GPR": {
        "predict": lambda m, place: m.predict(place(NEW), return_std=True),
        "cov": lambda m, place: m.predict(place(NEW), return_cov=True),
        "gradient": lambda m, place: m.predict_gradient(place(NEW)),
        "samples": lambda m, place: m.sample_y(place(NEW)),
        "paths": lambda m, place: m.pathwise_samples(2, random_state=0)(place(NEW)),
        "conditioned": lambda m, place: m.condition_on(place(NEW), place(Y[:5])).predict(place(NEW)),
        "fantasies": lambda m, place: m.fantasize(place(NEW), place(Y[None, :5])).predict(place(NEW), return_std=True),
        "attributes": lambda m, _: (m.L_, m.alpha_, m.X_train_, m.y_train_),
    },
    "SGPR": {
        "predict": lambda m, place: m.predict(place(NEW), return_std=True),
        "cov": lambda m, place: m.predict(place(NEW), return_cov=True),
        "samples": lambda m, place: m.sample_y(place(NEW)),
        "paths": lambda m, place: m.pathwise_samples(2, random_state=0)(place(NEW)),
        "attributes": lambda m, _: (m.inducing_, *m.inducing_posterior()),
    },
    "SVGP": {
        "predict": lambda m, place: m.predict(place(NEW), return_std=True),
        "cov": lambda m, place: m.predict(place(NEW), return_cov=True),
        "samples": lambda m, place: m.sample(place(NEW)),
        "paths": lambda m, place: m.pathwise_samples(2, random_state=0)(place(NEW)),
        "attributes": lambda m, _: (m.inducing_, *m.inducing_posterior()),
    },
    "GPLVM": {
        "transform": lambda m, place: m.transform(place(Y[:3] + 0.1), return_std=True),
        "inverse": lambda m, place: m.inverse_transform(place(NEW), return_std=True),
        "sample": lambda m, place: m.sample(place(NEW), random_state=0),
        "attributes": lambda m, _: (m.embedding_, m.mean_, m.Y_train_),
    },
    "logistic": {
        "probabilities": lambda m, place: m.predict_proba(place(NEW)),
        "per draw": lambda m, place: m.predict_proba(place(NEW), per_draw=True),
        "decision": lambda m, place: m.decision_function(place(NEW)),
        "attributes": lambda m, _: (m.omega_draws_, {"coef": m.coef_draws_, "r_hat": m.r_hat_}),
    },
}
KINDS = {"GPR": lvm.GPR, "SGPR": lvm.SGPR, "SVGP": lvm.SVGP, "GPLVM": lvm.GPLVM}
KINDS |= {"logistic": lvm.PolyaGammaLogisticRegression}
KINDS |= dict.fromkeys(CLASSIFIERS, lvm.PolyaGammaGPClassifier)


def kind_of(model):
    """The name in KINDS."""
    if isinstance(model, lvm.PolyaGammaGPClassifier):
        return "gibbs" if model.method == "gibbs" else "classifier" if model.inducing is None else "sparse classifier"
    return "logistic" if isinstance(model, lvm.PolyaGammaLogisticRegression) else type(model).__name__


def answers(model, xp):
    """All of them to questions in arrays of ``xp``, which they must be themselves."""
    found = {}
    for name, answer in ANSWERS[kind_of(model)].items():
        found |= Device(xp).fetched(answer(model, xp.asarray), name)
    return found


def assert_same(actual, expected):
    """The same bits."""
    assert list(actual) == list(expected)
    for name, right in expected.items():
        assert same_bits(actual[name], right), name


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_arrays_and_the_gpu(gpu, kind):
    """device="cuda": the GPU computes, arrays come and go as NumPy's; with the bits of a model of CuPy's arrays."""
    model, native = fitted(kind, np, device="cuda"), fitted(kind, gpu)
    assert model.device_ == native.device_ == "cuda"
    assert_same(answers(native, gpu), answers(model, np))


@pytest.mark.parametrize("kind", KINDS)
def test_models_keep_to_their_device(gpu, kind):
    """Questions come in arrays of the training data's device."""
    for model, xp in [(fitted(kind, np), gpu), (fitted(kind, gpu), np)]:
        for name, answer in ANSWERS[kind].items():
            if name not in ("attributes", "paths"):
                with pytest.raises(DeviceError, match="arrays live on different devices"):
                    answer(model, xp.asarray)


@pytest.mark.parametrize("kind", KINDS)
def test_pickles(gpu, kind, monkeypatch):
    """With their GPU they are what they were; without, models work on the CPU."""
    model = fitted(kind, np, device="cuda")
    saved, expected = pickle.dumps(model), answers(model, np)
    assert_same(answers(pickle.loads(saved), np), expected)
    monkeypatch.setattr(_gpu, "_stack", None)
    monkeypatch.setattr(_gpu, "_reason", "not there")
    compare(answers(pickle.loads(saved), np), expected, searched_tolerance())


def searched_tolerance():
    return tolerance(float, len(X), searched(float))


@pytest.mark.parametrize("kind", KINDS)
def test_pickles_of_gpu_arrays(gpu, kind):
    """CuPy's arrays pickle; the stand-in's do not."""
    if hasattr(gpu, "shim"):
        pytest.skip("the stand-in for CuPy has no pickles")
    model = fitted(kind, gpu)
    assert_same(answers(pickle.loads(pickle.dumps(model)), gpu), answers(model, gpu))


@pytest.mark.parametrize("arrays", ["numpy", "cupy"])
@pytest.mark.parametrize("kind", KINDS)
def test_files(gpu, kind, arrays, tmp_path):
    """A file has NumPy arrays, and the model that was read works where it worked before."""
    xp = np if arrays == "numpy" else gpu
    model = fitted(kind, xp, device="cuda")
    model.save(tmp_path / "model.npz")
    loaded = KINDS[kind].load(tmp_path / "model.npz")
    assert loaded.device_ == "cuda"
    assert_same(answers(loaded, np), answers(model, xp))


def test_resume_is_the_same_fit(gpu):
    """Bit for bit, and the latents stay where the data are."""
    whole = lvm.GPLVM(max_iter=6, optimizer="lbfgs").fit(gpu.asarray(Y))
    parts = lvm.GPLVM(max_iter=3, optimizer="lbfgs").fit(gpu.asarray(Y)).resume(6)
    assert isinstance(parts.embedding_, gpu.ndarray)
    assert same_bits(gpu.asnumpy(parts.embedding_), gpu.asnumpy(whole.embedding_))
    assert parts.log_marginal_likelihood_ == whole.log_marginal_likelihood_


def test_a_model_can_be_asked_on_another_stream(gpu):
    model = fitted("GPLVM", gpu)
    expected = gpu.asnumpy(model.inverse_transform(gpu.asarray(NEW)))
    with gpu.cuda.Stream(non_blocking=True) as stream:
        Y_there = model.inverse_transform(gpu.asarray(NEW))
        stream.synchronize()
        assert same_bits(gpu.asnumpy(Y_there), expected)
