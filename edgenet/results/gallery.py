"""A picture of pictures: rows of small images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenet.results.figures import picture

Images = NDArray[np.floating]
"""(samples, channels, height, width), values in 0..1; one channel is grey, three are red, green
and blue."""


def gallery(path: Path, rows: Sequence[tuple[str, Images]], *, columns: int = 10) -> None:
    """Draw the first `columns` images of each row, with the row's name on the left.

    Args:
        path: the PNG to write.
        rows: (name, images).
        columns: how many images of each.
    """
    columns = min(columns, *(len(images) for _, images in rows))
    with picture(path, rows=len(rows), columns=columns, size=(0.8, 0.8)) as axes:
        for (name, images), line in zip(rows, axes, strict=True):
            line[0].set_ylabel(name, rotation=0, ha="right", va="center")
            for image, place in zip(images, line, strict=False):
                colours = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
                place.imshow(colours, cmap="gray", vmin=0, vmax=1)
                place.grid(visible=False)
                place.set(xticks=[], yticks=[])
