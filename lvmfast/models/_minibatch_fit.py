"""A fit by minibatches on its estimator: progress, callback, Ctrl-C, and what is told at the end."""

from __future__ import annotations

import time
import warnings

from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._interrupt import deferred_interrupt
from lvmfast.exceptions import FitInterruptedWarning

__all__ = ["MinibatchFit"]


class MinibatchFit:
    """A subclass defines ``_finish(data, names, form, run, more, message)``, which sets the fitted attributes.

    Attributes
    ----------
    _title, _bound : str
        Of the progress bar; what early stopping looks at.
    _status : type
        What a callback is told.
    """

    def _go(self, data, names, form, run, more: dict, begun: float, stacklevel: int = 4) -> None:
        """Steps to the end; sets the fitted attributes, then warns or raises."""
        bar = tqdm(
            total=data.steps_of(self.max_iter),
            initial=run.steps,
            disable=not self.verbose,
            desc=self._title,
            unit="step",
        )
        with bar, _backend.blas_threads(1), deferred_interrupt() as check_interrupt:

            def on_piece():
                bar.update(run.steps - bar.n)

            def on_epoch():
                means = run.means(*([0, *run.ends][-2:]))
                val_loss = float(run.checks[-1][0]) if data.held is not None else None
                shown = {"epoch": len(run.ends), run.NAMES[0]: f"{means[0]:.4f}"}
                bar.set_postfix(shown | ({} if val_loss is None else {"val_loss": f"{val_loss:.4f}"}), refresh=False)
                if self.callback is None:
                    return False

                def model():
                    fitted = type(self)(**{**self.get_params(deep=False), "callback": None})
                    fitted._finish(data, names, form, run, more, "a checkpoint")
                    return fitted

                elapsed = time.perf_counter() - begun
                status = self._status(len(run.ends), run.steps, means.tolist(), val_loss, elapsed, model)
                for name, value in run.more(*([0, *run.ends][-2:])).items():
                    setattr(status, name, value)
                return bool(self.callback(status))

            run.go(data, check_interrupt, on_piece, on_epoch)
            message = f"reached max_iter={self.max_iter}"
            if run.error is not None:
                message = f"ended by an error after {run.steps} steps: {run.error}"
            elif run.interrupted:
                message = "interrupted from the keyboard"
            elif run.stopped:
                message = "stopped by the callback"
            elif run.settled:
                message = f"no better {self._bound} of the rows for validation in {self.n_iter_no_change} epochs"
            self._finish(data, names, form, run, more, message)
        if run.error is not None:
            raise run.error
        if run.interrupted:
            warnings.warn(
                f"the fit was interrupted after {run.steps} steps; the model holds what was reached, and resume(X) "
                "goes on",
                FitInterruptedWarning,
                stacklevel=stacklevel,
            )
