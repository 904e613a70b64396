"""Layers that pass the error of their input on first, and compute their weights' gradients later.

Autograd computes both in one go, layer by layer, and so the error of a stage's input is the last
thing that it has. The node before waits for it, and for nothing else. (Qi, Wan, Huang, Lin, "Zero
bubble pipeline parallelism", ICLR 2024: B and W.) The kernels are those that autograd calls, each
with one of its halves switched off, so the gradients are the same to the bit.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class _Owed(NamedTuple):
    """A layer's gradients that have not been computed."""

    module: nn.Module
    x: Tensor
    error: Tensor


class Early:
    """Makes the linear and convolutional layers of `layers` owe their gradients, and pays.

    It costs more than it saves (oneDNN orders its inputs twice), but for those who wait for the
    error: so only forwards are concerned that run while it is `on`.

    Args:
        layers: changed on the spot; other kinds of layers are left to autograd.
    """

    def __init__(self, layers: nn.Module) -> None:
        self.on = True
        self._owed: list[_Owed] = []
        for module in layers.modules():
            if (isinstance(module, nn.Linear) or _plain(module)) and module.weight.requires_grad:
                module.forward = partial(self._forward, module)

    @property
    def held_bytes(self) -> int:
        """What is kept for the gradients that are owed."""
        return sum(owed.x.nbytes + owed.error.nbytes for owed in self._owed)

    def finish(self) -> None:
        """Add the gradients that are owed to the parameters' own."""
        with torch.no_grad():
            for module, x, error in self._owed:
                weight, bias = _gradients(module, x, error)
                _add(module.weight, weight)
                _add(module.bias, bias)
        self._owed.clear()

    def _forward(self, module: nn.Module, x: Tensor) -> Tensor:
        if not self.on or not torch.is_grad_enabled():
            return type(module).forward(module, x)  # type: ignore[no-any-return]
        y: Tensor = _Layer.apply(x, module.weight, module.bias, module, self._owed)  # type: ignore[no-untyped-call]
        return y


class _Layer(torch.autograd.Function):
    """A layer with one set of weights."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, module: nn.Module,
        owed: list[_Owed],
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x)
        ctx.weight, ctx.module, ctx.owed = weight, module, owed
        if isinstance(module, nn.Conv2d):
            m = module
            return nn.functional.conv2d(x, weight, bias, m.stride, m.padding, m.dilation, m.groups)
        return nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        (x,), m = ctx.saved_tensors, ctx.module
        ctx.owed.append(_Owed(m, x, error))
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        if isinstance(m, nn.Conv2d):
            return _convolution(m, x, ctx.weight, error, [True, False, False])[0], *(None,) * 4
        return error @ ctx.weight, None, None, None, None


def _add(parameter: Any, gradient: Tensor | None) -> None:
    if gradient is None:
        return
    if parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad.add_(gradient)


def _gradients(module: nn.Module, x: Tensor, error: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """(of the weight, of the bias)."""
    has_bias = module.bias is not None
    if isinstance(module, nn.Conv2d):
        mask = [False, True, has_bias]
        _, weight, bias = _convolution(module, x, module.weight, error, mask)
        return weight, bias
    rows = error.flatten(0, -2)
    return rows.t() @ x.flatten(0, -2), rows.sum(0) if has_bias else None


def _convolution(
    m: nn.Conv2d, x: Tensor, weight: Tensor, error: Tensor, mask: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        error, x, weight, [len(weight)], m.stride, m.padding, m.dilation, False, [0, 0], m.groups,
        mask,
    )  # fmt: skip
    return found


def _plain(module: nn.Module) -> bool:
    """A convolution with zeros around the image."""
    return (
        isinstance(module, nn.Conv2d)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )
