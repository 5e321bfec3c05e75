"""PyTorch tensors with the gradient in closed form: no autograd, buffers kept between calls.

With A = K^-1 Y, the derivative of the loss by K is G = (K^-1 - A A^T / D) / 2. Let W = G * Kf,
elementwise, Kf being K without its diagonal noise, and w = W 1. Then

    dX = -2 / l^2 (w * X - W X),    dnoise = tr G,
    damplitude = 2 / amplitude sum(w),    dlengthscale = -sum(X * dX) / lengthscale,

the last because the loss depends on X / l only. Work, r being the number of columns kept: one
Cholesky factorisation and ``cholesky_inverse`` (N^3 operations together), 2 N^2 r for K^-1 Y as
a product, and about N^2 r for A A^T, of which only the lower half is computed, by blocks of rows.

With ``compress=True`` (the default) Y is replaced once, in the set-up, by r = rank(Y) columns
which give the same loss up to rounding (``_common.same_loss_columns``).
"""

from math import log, pi

from ._common import as_arrays, importable, run_adam, same_loss_columns


def available():
    """Return ``(True, "")`` if PyTorch imports, else ``(False, reason)``."""
    return importable("torch")


def _block_ranges(N):
    """Return the bounds of at most 8 blocks of rows, none much under 128 rows."""
    n = max(1, min(8, N // 128))
    return [(N * i // n, N * (i + 1) // n) for i in range(n)]


class _Evaluator:
    """The loss and its gradient for one Y and one Q; holds three N x N buffers, one N x r."""

    def __init__(self, Y, jitter, compress):
        import torch

        self.Y = torch.from_numpy(same_loss_columns(Y) if compress else Y)
        self.jitter = jitter
        N, r = self.Y.shape
        new = self.Y.new_empty
        self.Kf, self.L, self.G, self.A = new(N, N), new(N, N), new(N, N), new(N, r)
        self.info = torch.empty((), dtype=torch.int32)

    def __call__(self, X, amplitude, lengthscale, noise_variance):
        import torch

        Y, Kf, L, G, A = self.Y, self.Kf, self.L, self.G, self.A
        N, D = Y.shape
        X = torch.tensor(X, dtype=Y.dtype)
        # Kf = amplitude^2 exp(-squared distance / 2), the distances from differences, in place
        scaled = X.T / lengthscale
        torch.sub(scaled[0][:, None], scaled[0][None, :], out=Kf)
        torch.mul(Kf, Kf, out=Kf)
        for x in scaled[1:]:
            torch.sub(x[:, None], x[None, :], out=G)
            Kf.addcmul_(G, G)
        Kf.mul_(-0.5).exp_().mul_(amplitude**2)
        # L and K^-1
        G.copy_(Kf).diagonal().add_(noise_variance + self.jitter)
        torch.linalg.cholesky_ex(G, out=(L.mT, self.info))
        if self.info.item():
            raise ArithmeticError("K is not positive definite")
        torch.cholesky_inverse(L.mT, out=G.mT)
        torch.mm(G, Y, out=A)
        loss = 0.5 * N * log(2 * pi) + L.diagonal().log().sum().item()
        loss += 0.5 / D * torch.dot(Y.reshape(-1), A.reshape(-1)).item()
        # G becomes the derivative by K, Kf becomes W
        for lo, hi in _block_ranges(N):
            rows = G[lo:hi, :hi]
            torch.addmm(rows, A[lo:hi], A[:hi].T, beta=0.5, alpha=-0.5 / D, out=rows)
            G[:lo, lo:hi] = G[lo:hi, :lo].T
        dnoise = G.diagonal().sum().item()
        W = Kf.mul_(G)
        augmented = W @ torch.cat([X, torch.ones_like(X[:, :1])], 1)
        w = augmented[:, -1:]
        dX = (augmented[:, :-1] - w * X).mul_(2 / lengthscale**2)
        dlengthscale = -(X * dX).sum().item() / lengthscale
        return loss, dX.numpy(), 2 / amplitude * w.sum().item(), dlengthscale, dnoise


def step(X, Y, amplitude, lengthscale, noise_variance, jitter=1e-6, dtype="float64", compress=True):
    """Return a callable which computes the loss and its gradient once; see the package."""
    X, Y = as_arrays(X, Y, dtype)
    evaluate = _Evaluator(Y, jitter, compress)
    params = float(amplitude), float(lengthscale), float(noise_variance)

    def call():
        return evaluate(X, *params)

    call()
    return call


def run_protocol(X0, Y, n_steps=100, learning_rate=1.0, compress=True):
    """Train in float64 from X0; return ``(losses, X, params)``; see the package."""
    X0, Y = as_arrays(X0, Y, "float64")
    return run_adam(_Evaluator(Y, 1e-6, compress), X0, n_steps, learning_rate)
