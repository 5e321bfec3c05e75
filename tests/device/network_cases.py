"""Cases of networks: outputs and pull-backs of every kind of layer, and steps of optimizers."""

from __future__ import annotations

from device.cases import Case

from lvmfast import _backend, nn

SHAPE = (7, 6, 3)


def passes(layers, heads=None, shape=SHAPE):
    """Outputs, gradient and d_x, with cotangents that are the outputs."""

    def call(x):
        device = "cuda" if _backend.is_gpu(x) else "cpu"
        net = nn.Sequential(layers, heads=heads).build(shape, x.dtype.type, seed=1, device=device)
        outputs, vjp = net.forward_and_vjp(x)
        gradient, d_x = vjp(outputs, input_gradient=True)
        return (*(outputs if heads else (outputs,)), gradient, d_x, net(x[:2]) if heads is None else net(x[:2])[0])

    return call


def images(shape=SHAPE, n=5):
    return lambda rng, dtype: (rng.standard_normal((n, *shape)).astype(dtype),)


def steps(optimizer):
    """Parameters and moments after three steps."""

    def call(theta, gradient):
        theta = theta.copy()
        state = optimizer.init(theta)
        for _ in range(3):
            optimizer.update(theta, gradient, state)
        return (theta, *(value for name, value in state.items() if name != "step"))

    return call


def vectors(rng, dtype):
    return rng.standard_normal(3000).astype(dtype), rng.standard_normal(3000).astype(dtype)


TERMS = 9 * 8 + 5 * 42
NETWORKS = {
    f"{type(layer).__name__} {layer.kernel_size} {layer.strides} {layer.padding}": Case(
        images(), passes([layer]), TERMS
    )
    for kind in (nn.Conv2D, nn.Conv2DTranspose)
    for layer in (kind(4, 3, 1, "same", "relu"), kind(5, (2, 3), 2, "valid", "tanh"), kind(1, 1, (3, 1), "same", "elu"))
}
NETWORKS["Conv2D, 3 x 3 of 16 channels"] = Case(
    images((5, 6, 16)), passes([nn.Conv2D(16, 3, 1, "same", "tanh")], shape=(5, 6, 16)), TERMS, 10.0
)
NETWORKS |= {
    f"Dense {activation}": Case(images((9,)), passes([nn.Dense(4, activation)], shape=(9,)), 30)
    for activation in ("linear", "relu", "tanh", "sigmoid", "softplus", "elu", "gelu")
}
NETWORKS["trunk and heads"] = Case(
    images(),
    passes(
        [nn.Conv2D(4, 3, 2, "same", "relu"), nn.Flatten(), nn.Dense(12, "gelu")],
        {"mean": [nn.Dense(2)], "image": [nn.Reshape((2, 2, 3)), nn.Conv2DTranspose(2, 3, 2, "same", "sigmoid")]},
    ),
    TERMS,
    10.0,
)
NETWORKS["from one channel to one"] = Case(
    images((7, 6, 1)),
    passes(
        [
            nn.Conv2D(8, 3, 2, "same", "relu"),
            nn.Conv2DTranspose(12, 3, 2, "same", "gelu"),
            nn.Conv2D(1, 3, 1, "same", "sigmoid"),
        ],
        shape=(7, 6, 1),
    ),
    TERMS,
    10.0,
)
NETWORKS["a convolution after an odd number of parameters"] = Case(
    images(),
    passes(
        [nn.Conv2D(8, 3, 2, "same", "relu")],
        {"number": [nn.Flatten(), nn.Dense(1)], "image": [nn.Conv2DTranspose(8, 3, 2, "same")]},
    ),
    TERMS,
    10.0,
)
NETWORKS |= {
    f"steps of {optimizer!r}": Case(vectors, steps(optimizer), 3000)
    for optimizer in (
        nn.Adam(0.1, clip_norm=1.0),
        nn.RMSprop(momentum=0.5),
        nn.RMSprop(0.01, clip_norm=1e6),
        nn.SGD(0.1),
        nn.SGD(0.1, momentum=0.9, clip_norm=0.5),
    )
}
