"""How alike images are, and how much one variable tells about another.

SSIM and the estimate of mutual information are written out here because the packages that have
them (torchmetrics, scikit-image, scikit-learn) are heavier than edgenet itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
"""Wang et al. 2004, sec. III-B and III-C; for values in 0..1, L = 1."""


def cross_entropy(images: Tensor, guessed: Tensor) -> float:
    """Mean binary cross-entropy of a pixel, in nats: -x log g - (1 - x) log(1 - g), for images x
    and guesses g of any one shape, both in 0..1. Not 0 for g = x, unless x is black and white."""
    return float(functional.binary_cross_entropy(guessed.double(), images.double()))


def ssim(images: Tensor, others: Tensor) -> float:
    """Mean structural similarity: Wang, Bovik, Sheikh, Simoncelli 2004, Eqs. 13-17, with their
    Gaussian window of 11x11 pixels and deviation 1.5, where it fits into the images whole.

    Args:
        images: (samples, channels, height, width) in 0..1, 11x11 or larger.
        others: the same shape.
    """
    channels = images.shape[1]
    window = _window().expand(channels, 1, -1, -1)

    def local(x: Tensor) -> Tensor:
        return functional.conv2d(x, window, groups=channels)

    x, y = images.double(), others.double()
    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((above / below).mean())  # Eq. 13 at every place, Eq. 17


def _window() -> Tensor:
    """Gaussian weights (11, 11) that add up to 1."""
    at = torch.arange(_WINDOW, dtype=torch.float64) - (_WINDOW - 1) / 2
    weights = torch.exp(-(at**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    return weights[:, None] * weights


def mutual_information(x: Tensor, y: Tensor, neighbours: int = 3) -> float:
    """Estimate of I(X; Y) in nats from samples: Kraskov, Stogbauer, Grassberger 2004, Eq. 8.

    Its errors cancel where X and Y are independent; it is made for few dimensions (10 or so), and
    cannot see more than about log(samples).

    Args:
        x: (samples, dimensions).
        y: (samples, dimensions), of the same samples.
        neighbours: their k: more are steadier, fewer less biased.
    """
    samples = len(x)
    far_x, far_y = _distances(x), _distances(y)
    reach = torch.maximum(far_x, far_y).kthvalue(neighbours, dim=1, keepdim=True).values
    near_x, near_y = (far_x < reach).sum(1), (far_y < reach).sum(1)  # n_x, n_y
    there = torch.tensor([float(neighbours), float(samples)], dtype=torch.float64)
    found = torch.digamma(near_x + 1.0) + torch.digamma(near_y + 1.0)
    return float(torch.digamma(there).sum() - found.double().mean())  # Eq. 8


def _distances(x: Tensor) -> Tensor:
    """Largest difference in any dimension between every two samples; to itself: infinite."""
    far: Tensor = torch.cdist(x.double(), x.double(), p=torch.inf)
    far.fill_diagonal_(torch.inf)
    return far


def principal_components(x: Tensor, count: int) -> Tensor:
    """The first principal components of samples (samples, ...): (samples, count or fewer), scaled
    to deviation 1. Directions in which nothing varies are left at 0."""
    flat = x.flatten(1).double()
    centred = flat - flat.mean(0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    kept = sizes[:count] > 1e-6 * max(float(sizes[0]), 1e-6)
    found: Tensor = left[:, :count] * kept * len(flat) ** 0.5
    return found
