"""The dataset inside the package: real handwritten digits, for runs without files or network.

Origin and licence: digits.txt, beside the file.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgenet.errors import DataError

_SIDE = 28
"""Pixels a side after resizing: MNIST's, so that its models fit."""
_FULL = 16
"""The value of a full pixel in the file."""


def read() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(train_x, train_y, test_x, test_y): images uint8 (n, 1, 28, 28) and labels int64 (n,).

    Raises:
        DataError: the file in the package is damaged.
    """
    try:
        with (resources.files("edgenet.data") / "digits.npz").open("rb") as file:
            with np.load(file, allow_pickle=False) as arrays:
                images = torch.from_numpy(arrays["images"])
                labels = torch.from_numpy(arrays["labels"]).long()
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"edgenet's own digits.npz is damaged ({error}); reinstall") from error
    by_label = torch.sort(labels, stable=True).indices
    test = torch.zeros(len(labels), dtype=torch.bool)
    test[by_label[::5]] = True
    x = _resized(images)
    return x[~test], labels[~test], x[test], labels[test]


def _resized(images: Tensor) -> Tensor:
    """uint8 (n, 1, 28, 28) with values 0..255 of `images` (n, 8, 8) with values 0..16."""
    x = images[:, None].double() * (255 / _FULL)
    x = functional.interpolate(x, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
    # 127.5 does occur; the small excess rounds it up whatever the machine's last digit is.
    return (x + 0.5 + 1e-6).to(torch.uint8)
