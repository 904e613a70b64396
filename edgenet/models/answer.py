"""Autograd's backward from an error that came over a link."""

from __future__ import annotations

from torch import Tensor
from torch.autograd import Variable


def answer(y: Tensor, error: Tensor) -> None:
    """Gather in the leaves of y's graph what `error` = dL/dy (the shape of y) causes.

    What y.backward(error) does, but that this imports sympy to look at the shapes: over a second,
    which a small board does not have, and then some 50 microseconds for each batch.
    """
    Variable._execution_engine.run_backward(
        (y,), (error,), False, False, (), allow_unreachable=True, accumulate_grad=True
    )
