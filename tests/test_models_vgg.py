"""VGG16: its sizes as published, and that a narrow one learns."""

from __future__ import annotations

import pytest
import torch

from edgenet.errors import InputError
from edgenet.models.layers import build, table


@pytest.mark.parametrize(
    ("shape", "classes", "parameters"),
    [((3, 32, 32), 10, 33_638_218), ((3, 224, 224), 1000, 138_357_544)],
)
def test_parameters_are_those_of_column_d(
    shape: tuple[int, int, int], classes: int, parameters: int
) -> None:
    with torch.device("meta"):
        from edgenet.models.vgg import vgg16

        layers = vgg16(64)(shape, classes)
        total = sum(p.numel() for module in layers.values() for p in module.parameters())
    assert total == parameters


def test_layers_and_the_cut_of_the_paper() -> None:
    model = build("vgg16-w4", classes=10, shape=(3, 32, 32), seed=1)
    assert model.layer_names == (*(f"C{n}" for n in range(1, 14)), "F1", "F2", "F3")
    rows = {row.name: row for row in table(model, (3, 32, 32))}
    assert rows["C13"].output_shape == (32, 1, 1)
    assert rows["F2"].output_shape == (256,)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 40), (3, 64, 32)])
def test_other_images_pass_through(shape: tuple[int, int, int]) -> None:
    model = build("vgg16-bn-w4", classes=5, shape=shape, seed=1)
    assert model(torch.zeros(2, *shape)).shape == (2, 5)


def test_too_small_images_are_refused() -> None:
    with pytest.raises(InputError, match="images of 20x20 or more"):
        build("vgg16-w4", classes=5, shape=(1, 16, 16), seed=1)
