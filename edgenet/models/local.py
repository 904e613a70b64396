"""A stage that computes in this process, with torch's autograd."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edgenet.errors import NodeError
from edgenet.models.answer import answer
from edgenet.models.early import Early
from edgenet.models.fit import kind, require_like
from edgenet.models.kept import copy_named, named_tensors
from edgenet.models.memory import Kept
from edgenet.models.optimizers import OPTIMIZERS
from edgenet.models.optimizers import optimizer as build_optimizer
from edgenet.topology.spec import Optimizer

__all__ = ["OPTIMIZERS", "LocalStage"]


class _Open(NamedTuple):
    """A forward that waits for its backward."""

    x: Tensor
    y: Tensor
    version: int
    held_bytes: int


class LocalStage:
    """Implements `Stage` for `layers`. Meant for one thread.

    Args:
        layers: what the stage computes; its state_dict's keys are the stage's `names`.
        optimizer: which optimizer, with which settings.
        lr: learning rate.
        needs_input_error: False for a model's first layers. Nobody wants the error of the data,
            so it is not computed, and `backward` returns zeros that take up no memory.

    Raises:
        InputError: an unknown optimizer, or settings it cannot have.
    """

    def __init__(
        self,
        layers: nn.Module,
        optimizer: Optimizer,
        lr: float,
        *,
        needs_input_error: bool = True,
    ) -> None:
        self.layers = layers.train()
        self._look()
        self._optimizer = build_optimizer(self._trained, optimizer, lr)
        self._needs_input_error = needs_input_error
        self._open: deque[_Open] = deque()
        self._version = self._steps = 0
        self._held: dict[tuple[Any, ...], int] = {}
        self._peak = 0
        self._early: Early | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """state_dict keys, in the order of `state`."""
        return self._names

    @property
    def weight_bytes(self) -> int:
        """Bytes of the parameters and buffers."""
        return sum(t.nbytes for t in self._state)

    @property
    def stash_bytes(self) -> int:
        """Bytes kept now for backwards to come, or for what they owe: inputs, outputs, errors, and
        what autograd saved."""
        owed = self._early.held_bytes if self._early else 0
        return owed + sum(entry.held_bytes for entry in self._open)

    @property
    def peak_stash_bytes(self) -> int:
        """The most that `stash_bytes` ever was."""
        return self._peak

    @property
    def open_forwards(self) -> int:
        """Forwards that wait for their backward."""
        return len(self._open)

    def use(self, version: int, *, urgent: bool = False) -> None:
        """Makes sure that the next forward is with the weights after so many steps; there are no
        others. Raises NodeError if these are not they."""
        if urgent and self._needs_input_error:
            self._early = self._early or Early(self.layers)
        if self._early is not None:
            self._early.on = urgent
        if version != self._steps:
            raise NodeError(
                f"version {version} is asked for; the weights are version {self._steps}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Activation for x, detached. x is kept for `backward`: leave its contents alone."""
        x = x.detach()
        if self._needs_input_error and x.is_floating_point():
            x.requires_grad_()
        y = self._compute(x)
        self._open.append(_Open(x, y, self._version, self._held[x.shape, x.dtype]))
        self._peak = max(self._peak, self.stash_bytes)
        return y.detach()

    def backward(self, error: Tensor) -> Tensor:
        """Gradients of the oldest open forward, added up; the error of its input (zeros if that
        is not computed, see `needs_input_error`, or if the input is of whole numbers).

        Raises:
            NodeError: no forward is open, `error` has another shape than its result, or the
                weights have changed since: then its gradient would be one of no version at all.
        """
        if not self._open:
            raise NodeError("backward without an open forward: call forward first")
        self._pay()
        x, y, version, _ = self._open[0]
        if error.shape != y.shape or error.dtype != y.dtype:
            raise NodeError(
                f"backward was given an error of {kind(error)}, but the oldest open forward "
                f"returned {kind(y)}; answer the forwards in their order"
            )
        if version != self._version:
            raise NodeError(
                "the weights changed between a forward and its backward; call backward before "
                "step and load, or forget the forward"
            )
        self._open.popleft()
        if y.requires_grad:
            answer(y, error)
            self._peak = max(self._peak, self.stash_bytes)
        return torch.zeros((), dtype=x.dtype).expand(x.shape) if x.grad is None else x.grad

    def step(self) -> None:
        """One optimizer step with the gradients gathered since the last; then they are zero."""
        self._pay()
        self._optimizer.step()
        self._clear()
        self._version += 1
        self._steps += 1

    def forget(self) -> None:
        """Drop every open forward and all gathered gradients: the batch is given up."""
        self._open.clear()
        self._pay()
        self._clear()

    def held(self) -> str:
        """What is held now, for people."""
        return (
            f"{self.weight_bytes / 1e6:.1f} MB of weights, as much of gradients, and "
            f"{self.stash_bytes / 1e6:.1f} MB for {self.open_forwards} open forwards"
        )

    def gradients(self) -> list[Tensor]:
        """The gradients gathered since the last step, live; zeros where there are none yet."""
        self._pay()
        for parameter in self._trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self._trained if parameter.grad is not None]

    def infer(self, x: Tensor) -> Tensor:
        """Evaluation-mode output for x without a stash or gradients."""
        self.layers.eval()
        try:
            with torch.no_grad():
                return self.layers(x)  # type: ignore[no-any-return]
        finally:
            self.layers.train()

    def state(self) -> list[Tensor]:
        """Parameters and buffers, live, in the order of `names`."""
        return list(self._state)

    def load(self, state: Sequence[Tensor]) -> None:
        """Copy `state` into the parameters and buffers; the optimizer keeps its momentum.

        Raises:
            NodeError: other tensors than this stage has; nothing is copied.
        """
        require_like("load", state, self._names, self._state)
        for mine, given in zip(self._state, state, strict=True):
            mine.copy_(given)
        self._version += 1

    def checkpoint(self) -> dict[str, Any]:
        """What `restore` needs: live tensors by name, also the optimizer's, and the steps so far.

        Raises:
            NodeError: a forward waits for its backward.
        """
        self._drained("the stage is saved")
        self._pay()
        named = self._parameters()
        return {
            "state": dict(zip(self._names, self._state, strict=True)),
            "gathered": named_tensors(named, self._optimizer.gathered()),
            "gradients": {name: p.grad for name, p in named.items() if p.grad is not None},
            "steps": self._steps,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become the stage that `saved` was taken of.

        Raises:
            NodeError: that was of another model, or had another optimizer.
        """
        copy_named(saved["state"], dict(zip(self._names, self._state, strict=True)))
        mine = named_tensors(self._parameters(), self._optimizer.gathered())
        for what, tensors in mine.items():
            copy_named(saved["gathered"].get(what, {}), tensors)
        for name, parameter in self._parameters().items():
            parameter.grad = saved["gradients"].get(name)
        self._steps = saved["steps"]
        self._version += 1

    def renew(self) -> None:
        """Take note that the layers have gained or lost parameters (a junction's columns); the
        optimizer keeps what it has gathered about the others. No forward may be open.

        Raises:
            NodeError: a forward waits for its backward.
        """
        self._drained("the layers changed")
        self._look()
        self._optimizer.renew(self._trained)
        self._held.clear()
        self._version += 1

    def pull(self, anchor: Sequence[Tensor], mu: float) -> None:
        """Add mu (w - anchor) to the gradients: FedProx's proximal term (Li et al. 2020, Eq. 2).

        Raises:
            NodeError: `anchor` is not of this stage's shapes.
        """
        require_like("pull", anchor, self._names, self._state)
        if mu == 0:
            return
        self._pay()
        held = dict(self.layers.named_parameters())
        with torch.no_grad():
            for name, towards in zip(self._names, anchor, strict=True):
                w = held.get(name)
                if w is None or not w.requires_grad:
                    continue
                if w.grad is None:
                    w.grad = torch.zeros_like(w)
                w.grad.add_(w - towards, alpha=mu)

    def _look(self) -> None:
        """See which parameters and buffers the layers have."""
        self._names = tuple(self.layers.state_dict())
        self._state = list(self.layers.state_dict().values())  # detached, but the same memory
        self._trained = [p for p in self.layers.parameters() if p.requires_grad]

    def _parameters(self) -> dict[str, nn.Parameter]:
        """The trained ones, in the optimizer's order."""
        return {name: p for name, p in self.layers.named_parameters() if p.requires_grad}

    def _drained(self, what: str) -> None:
        if self._open:
            raise NodeError(f"{what} between a forward and its backward")

    def _pay(self) -> None:
        """Compute the gradients that an urgent backward has left."""
        if self._early is not None:
            self._early.finish()

    def _clear(self) -> None:
        for parameter in self._trained:
            parameter.grad = None

    def _compute(self, x: Tensor) -> Tensor:
        """The layers' output. The first time for a shape, count the bytes that autograd keeps
        (each memory once, weights not); not every time, since the hooks cost time."""
        key = (x.shape, x.dtype)
        if key in self._held:
            return self.layers(x)  # type: ignore[no-any-return]
        kept = Kept(self._state)
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda t: t):
            y: Tensor = self.layers(x)
        kept.note(x, y)
        self._held[key] = kept.bytes
        return y
