"""SGD and Adam, the same updates as torch.optim's.

Not torch.optim itself: making one imports torch's compiler, over a second of CPU time and some
100 MB in each process, which a node on a small board does not have. The products below are the
same fused kernels that torch.optim calls with `fused=True` (on CPUs since torch 2.4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from edgenet.errors import InputError
from edgenet.topology.spec import Optimizer

OPTIMIZERS = ("sgd", "adam")
"""What `Optimizer.name` may be."""

_EPSILON = 1e-8
"""Adam's, as in Kingma & Ba 2015, Algorithm 1."""


class Update(Protocol):
    """Changes parameters by their gradients."""

    def step(self) -> None:
        """Update every parameter that has a gradient."""

    def renew(self, parameters: Sequence[nn.Parameter]) -> None:
        """Go on with these parameters: those that stay keep what was gathered about them."""

    def gathered(self) -> dict[str, list[Tensor]]:
        """What was gathered (velocity, ...): live, for each parameter in order; empty if none."""


def optimizer(parameters: Sequence[nn.Parameter], spec: Optimizer, lr: float) -> Update:
    """The optimizer that `spec` asks for.

    Raises:
        InputError: an unknown name, or a number outside its range.
    """
    if spec.name not in OPTIMIZERS:
        choices = ", ".join(OPTIMIZERS)
        raise InputError(f"optimizer {spec.name!r} is unknown; the choices are {choices}")
    _check("lr", lr, math.inf)
    _check("momentum", spec.momentum, 1)
    _check("weight_decay", spec.weight_decay, math.inf)
    for beta in spec.betas:
        _check("betas", beta, 1)
    return (Adam if spec.name == "adam" else Sgd)(parameters, spec, lr)


def _check(what: str, value: float, below: float) -> None:
    if not 0 <= value < below:
        upper = "" if below == math.inf else f" and below {below:g}"
        raise InputError(f"optimizer: {what} must be a number of at least 0{upper}, not {value}")


class Sgd:
    """g += weight_decay w; v = momentum v + g; w -= lr v."""

    def __init__(self, parameters: Sequence[nn.Parameter], spec: Optimizer, lr: float) -> None:
        self._parameters, self._spec, self._lr = list(parameters), spec, lr
        self._velocity = [torch.zeros_like(p) for p in parameters] if spec.momentum else []

    def gathered(self) -> dict[str, list[Tensor]]:
        """The velocity."""
        return {"velocity": self._velocity} if self._velocity else {}

    def renew(self, parameters: Sequence[nn.Parameter]) -> None:
        """Go on with these parameters."""
        if self._velocity:
            self._velocity = _carried(parameters, self._parameters, self._velocity)
        self._parameters = list(parameters)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        at = [i for i, p in enumerate(self._parameters) if p.grad is not None]
        if not at:
            return
        with torch.no_grad():
            torch._fused_sgd_(
                [self._parameters[i] for i in at],
                _gradients(self._parameters, at),
                [self._velocity[i] for i in at] if self._velocity else [],
                weight_decay=self._spec.weight_decay,
                momentum=self._spec.momentum,
                lr=self._lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,  # the velocity starts as zeros
            )


class Adam:
    """Kingma & Ba 2015, Algorithm 1, with g += weight_decay w."""

    def __init__(self, parameters: Sequence[nn.Parameter], spec: Optimizer, lr: float) -> None:
        self._parameters, self._spec, self._lr = list(parameters), spec, lr
        self._mean = [torch.zeros_like(p) for p in parameters]
        self._square = [torch.zeros_like(p) for p in parameters]
        self._steps = [torch.zeros(()) for _ in parameters]

    def gathered(self) -> dict[str, list[Tensor]]:
        """Both moments, and the steps that they count."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def renew(self, parameters: Sequence[nn.Parameter]) -> None:
        """Go on with these parameters; new ones count their steps from zero."""
        self._mean = _carried(parameters, self._parameters, self._mean)
        self._square = _carried(parameters, self._parameters, self._square)
        steps = dict(zip(map(id, self._parameters), self._steps, strict=True))
        self._steps = [steps.get(id(p), torch.zeros(())) for p in parameters]
        self._parameters = list(parameters)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        at = [i for i, p in enumerate(self._parameters) if p.grad is not None]
        if not at:
            return
        for i in at:
            self._steps[i] += 1
        with torch.no_grad():
            torch._fused_adam_(
                [self._parameters[i] for i in at],
                _gradients(self._parameters, at),
                [self._mean[i] for i in at],
                [self._square[i] for i in at],
                [],
                [self._steps[i] for i in at],
                lr=self._lr,
                beta1=self._spec.betas[0],
                beta2=self._spec.betas[1],
                weight_decay=self._spec.weight_decay,
                eps=_EPSILON,
                amsgrad=False,
                maximize=False,
            )


def _carried(
    parameters: Sequence[nn.Parameter], known: Sequence[nn.Parameter], gathered: Sequence[Tensor]
) -> list[Tensor]:
    """What was gathered about each of `parameters`; zeros about those that are new."""
    by_identity = dict(zip(map(id, known), gathered, strict=True))
    return [by_identity[id(p)] if id(p) in by_identity else torch.zeros_like(p)
            for p in parameters]  # fmt: skip


def _gradients(parameters: Sequence[nn.Parameter], at: Sequence[int]) -> list[Tensor]:
    return [grad for i in at if (grad := parameters[i].grad) is not None]
