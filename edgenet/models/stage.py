"""A stage: the part of a model that one node holds, with three verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from edgenet.models.answer import answer


class Stage(Protocol):
    """A run of layers with its optimizer. Knows neither first nor last, neither loss nor network.

    Several forwards may precede their backwards (pipelines): backward answers the oldest forward.
    """

    def use(self, version: int, *, urgent: bool = False) -> None:
        """The next forward is to be with the weights after so many steps; its backward, too.

        Args:
            version: how many steps.
            urgent: the error that answers it is waited for, with nothing else to do meanwhile: if
                it can, the stage passes it on before it computes what else the backward takes.

        Raises:
            NodeError: the stage does not have them (any more).
        """

    def forward(self, x: Tensor) -> Tensor:
        """Activation for input x (batch, ...), stashed for `backward`; detached."""

    def backward(self, error: Tensor) -> Tensor:
        """Add the gradients that `error` (the shape of forward's result) causes to the parameters'
        gradients; return the error of the stage's input. Answers the oldest open forward."""

    def step(self) -> None:
        """One optimizer step with the gradients gathered since the last; then they are zero."""

    def forget(self) -> None:
        """Drop every open forward and all gathered gradients: the batch is given up."""

    def gradients(self) -> list[Tensor]:
        """The parameters' gradients gathered since the last step, live: change them in place."""

    def infer(self, x: Tensor) -> Tensor:
        """Evaluation-mode output for x without a stash or gradients."""

    def state(self) -> list[Tensor]:
        """Parameters and buffers, in the order of `names` (live tensors, not copies)."""

    @property
    def names(self) -> tuple[str, ...]:
        """state_dict keys of the whole model, in the order of `state`."""

    def load(self, state: Sequence[Tensor]) -> None:
        """Copy `state` (as `state()` gave it, elsewhere) into the parameters and buffers."""

    def renew(self) -> None:
        """Take note that the layers have gained or lost parameters (a junction's columns)."""

    def pull(self, anchor: Sequence[Tensor], mu: float) -> None:
        """Add mu (w - anchor) to the gradients: FedProx's proximal term. `anchor` as `state()`."""


def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Mean cross-entropy of logits (batch, classes) and labels (batch,); and d loss/d logits."""
    leaf = logits.detach().requires_grad_()
    loss = torch.nn.functional.cross_entropy(leaf, labels)
    answer(loss, torch.ones_like(loss))
    assert leaf.grad is not None
    return loss.item(), leaf.grad
