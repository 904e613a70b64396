"""The arithmetic of one layer with weights, for weights that are given with each call.

torch's modules know one set of weights; a pipeline computes with several versions of them, or with
a block of their rows. What a weight's gradient is computed from is called a *pair*: the error delta
of the layer's output and its input activation a (Li et al., sec. IV-C). Rows are outputs: rows of a
matrix, output channels of a convolution, channels of a normalisation.

    Linear        y = a W^T + b         dW = delta^T a             d(input) = delta W
    Conv2d        y = a * W + b         dW = correlation(a, delta)
    BatchNorm2d   y = gamma a' + beta   the pair is its gradient itself: two numbers a channel
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

Weights = Sequence[Tensor]
"""(weight,) or (weight, bias): whole, or the same rows of both."""
Pair = tuple[Tensor, ...]
"""(delta, a), or for a normalisation (gradient of gamma, gradient of beta)."""
Saved = tuple[Tensor, ...]
"""What a forward leaves for its backward beside the input."""
ALL = slice(None)


class Product(Protocol):
    """One layer's arithmetic. Nothing of it is recorded by autograd."""

    weights: list[Tensor]
    """The module's own parameters, live, without their gradients."""

    def forward(self, x: Tensor, weights: Weights) -> tuple[Tensor, Saved]:
        """The output's channels that `weights` has rows for, of shape (batch, rows, ...)."""

    def backward(
        self, delta: Tensor, x: Tensor, weights: Weights, saved: Saved, *, wanted: bool
    ) -> tuple[Tensor, Pair]:
        """(error of the input, pair); the error is empty unless it is `wanted`."""

    def add_gradients(
        self, into: Weights, pairs: Sequence[Pair], scales: Sequence[float], rows: slice = ALL
    ) -> None:
        """into += sum over the pairs of scale x gradient; `into` holds `rows` of the weights."""


class LinearProduct:
    """nn.Linear on inputs (batch, features)."""

    def __init__(self, module: nn.Linear) -> None:
        self.module, self.weights = module, _tensors(module)

    def forward(self, x: Tensor, weights: Weights) -> tuple[Tensor, Saved]:
        """x W^T + b."""
        return nn.functional.linear(x, *weights), ()

    def backward(
        self, delta: Tensor, x: Tensor, weights: Weights, saved: Saved, *, wanted: bool
    ) -> tuple[Tensor, Pair]:
        """delta W, and (delta, x)."""
        return (delta @ weights[0] if wanted else delta.new_empty(0)), (delta, x)

    def add_gradients(
        self, into: Weights, pairs: Sequence[Pair], scales: Sequence[float], rows: slice = ALL
    ) -> None:
        """One product for all pairs: [scaled deltas]^T [activations]."""
        delta = torch.cat([s * d[:, rows] for (d, _), s in zip(pairs, scales, strict=True)])
        into[0].addmm_(delta.t(), torch.cat([a for _, a in pairs]))
        if len(into) > 1:
            into[1].add_(delta.sum(0))

    def add_through(
        self, error: Tensor, delta: Tensor, pairs: Sequence[Pair], scales: Sequence[float]
    ) -> None:
        """error += what delta would pass down if the weights were the sum over the pairs of scale x
        gradient: (delta delta_j^T) a_j, with batch x batch numbers between."""
        for (other, a), scale in zip(pairs, scales, strict=True):
            error.addmm_(delta @ other.t(), a, alpha=scale)


class ConvolutionProduct:
    """nn.Conv2d with zeros around the image."""

    def __init__(self, module: nn.Conv2d) -> None:
        self.module, self.weights = module, _tensors(module)

    def forward(self, x: Tensor, weights: Weights) -> tuple[Tensor, Saved]:
        """The convolution."""
        m = self.module
        bias = weights[1] if len(weights) > 1 else None
        y = nn.functional.conv2d(x, weights[0], bias, m.stride, m.padding, m.dilation, m.groups)
        return y, ()

    def backward(
        self, delta: Tensor, x: Tensor, weights: Weights, saved: Saved, *, wanted: bool
    ) -> tuple[Tensor, Pair]:
        """The transposed convolution of delta, and (delta, x)."""
        if not wanted:
            return delta.new_empty(0), (delta, x)
        return self._backward(delta, x, weights[0], [True, False, False])[0], (delta, x)

    def add_gradients(
        self, into: Weights, pairs: Sequence[Pair], scales: Sequence[float], rows: slice = ALL
    ) -> None:
        """One correlation for all pairs, as of one large mini-batch."""
        delta = torch.cat([s * d[:, rows] for (d, _), s in zip(pairs, scales, strict=True)])
        x = torch.cat([a for _, a in pairs])
        into[0].add_(self._backward(delta, x, into[0], [False, True, False])[1])
        if len(into) > 1:
            into[1].add_(delta.sum((0, 2, 3)))

    def add_through(
        self, error: Tensor, delta: Tensor, pairs: Sequence[Pair], scales: Sequence[float]
    ) -> None:
        """As a linear layer whose samples are the places of the output, whose inputs are what the
        kernel sees from there: one tap of it after the other, so that no patch is copied out."""
        m = self.module
        above, beside = (size for size in m.padding if isinstance(size, int))
        others = torch.cat([s * _places(d) for (d, _), s in zip(pairs, scales, strict=True)])
        likeness = _places(delta) @ others.t()
        border = (beside, beside, above, above)
        x = nn.functional.pad(torch.cat([a for _, a in pairs]), border)
        seen = x.permute(0, 2, 3, 1).contiguous()
        found = seen.new_zeros(len(delta), *seen.shape[1:])
        for tap in itertools.product(*map(range, m.kernel_size)):
            rows, columns = (
                slice(at * apart, at * apart + (size - 1) * step + 1, step)
                for at, apart, step, size in zip(
                    tap, m.dilation, m.stride, delta.shape[2:], strict=True
                )
            )
            part = likeness @ seen[:, rows, columns].flatten(0, 2)
            place = found[:, rows, columns]
            place += part.view(place.shape)
        height, width = error.shape[2:]
        inner = found[:, above : above + height, beside : beside + width]
        error += inner.permute(0, 3, 1, 2)

    def _backward(
        self, delta: Tensor, x: Tensor, weight: Tensor, mask: list[bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        m = self.module
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            delta, x, weight, None, m.stride, m.padding, m.dilation, False, [0, 0], m.groups, mask
        )
        return found


class NormalisationProduct:
    """nn.BatchNorm2d in training: the batch's own mean and variance; running ones are kept."""

    def __init__(self, module: nn.BatchNorm2d) -> None:
        self.module, self.weights = module, _tensors(module)

    def forward(self, x: Tensor, weights: Weights) -> tuple[Tensor, Saved]:
        """gamma x' + beta."""
        m = self.module
        if m.num_batches_tracked is not None:
            m.num_batches_tracked.add_(1)
        y, mean, inverse = torch.native_batch_norm(
            x, weights[0], weights[1], m.running_mean, m.running_var, True, m.momentum or 0.0, m.eps
        )
        return y, (mean, inverse)

    def backward(
        self, delta: Tensor, x: Tensor, weights: Weights, saved: Saved, *, wanted: bool
    ) -> tuple[Tensor, Pair]:
        """The input's error, and the two gradients as they are."""
        m = self.module
        found, gamma, beta = torch.ops.aten.native_batch_norm_backward(
            delta.contiguous(), x, weights[0], m.running_mean, m.running_var, *saved, True, m.eps,
            [wanted, True, True],
        )  # fmt: skip
        return (found if wanted else delta.new_empty(0)), (gamma, beta)

    def add_gradients(
        self, into: Weights, pairs: Sequence[Pair], scales: Sequence[float], rows: slice = ALL
    ) -> None:
        """The pairs are gradients."""
        for pair, scale in zip(pairs, scales, strict=True):
            for mine, gradient in zip(into, pair, strict=True):
                mine.add_(gradient[rows], alpha=scale)


def _places(delta: Tensor) -> Tensor:
    """(batch, channels, height, width) as (batch x height x width, channels)."""
    return delta.permute(0, 2, 3, 1).flatten(0, 2)


LOW_RANK = (LinearProduct, ConvolutionProduct)
"""Products that can pass an error through pairs."""


def product_of(module: nn.Module) -> Product | None:
    """The arithmetic of `module`; None if it has no weights, or weights of an unknown kind."""
    if isinstance(module, nn.Linear):
        return LinearProduct(module)
    if isinstance(module, nn.Conv2d) and _plain(module):
        return ConvolutionProduct(module)
    if isinstance(module, nn.BatchNorm2d) and module.affine and module.track_running_stats:
        return NormalisationProduct(module)
    return None


def _plain(module: nn.Conv2d) -> bool:
    zeros = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return zeros and module.groups == 1


def _tensors(module: nn.Module) -> list[Tensor]:
    found = [module.weight, module.bias]
    return [t.detach() for t in found if isinstance(t, Tensor)]
