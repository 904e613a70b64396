"""Likeness and leakage: cases that can be computed by hand, and heads that hide nothing or all."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from edgenet.errors import InputError
from edgenet.models.leakage import Leak, decoder, measure, train_decoder
from edgenet.models.likeness import (
    cross_entropy,
    mutual_information,
    principal_components,
    ssim,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(samples: int, seed: int, side: int = 16) -> Tensor:
    """Images (samples, 1, side, side) of a bright spot each, somewhere."""
    at = torch.rand(samples, 2, 1, 1, generator=generator(seed)) * 0.8 * side + 0.1 * side
    rows, columns = torch.arange(side)[:, None], torch.arange(side)[None, :]
    far = (rows - at[:, :1]) ** 2 + (columns - at[:, 1:]) ** 2
    return torch.exp(-far / 8)


# -- likeness --


def test_cross_entropy_by_hand() -> None:
    images, guessed = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([0.5, 0.25, 0.5])
    expected = -(math.log(0.5) + math.log(0.75) + math.log(0.5)) / 3
    assert cross_entropy(images, guessed) == pytest.approx(expected)


def test_ssim_of_equal_images_is_one() -> None:
    assert ssim(blobs(3, 0), blobs(3, 0)) == pytest.approx(1)


def test_ssim_of_even_images_by_hand() -> None:
    """Without contrast only the first factor is left: (2 a b + c1) / (a a + b b + c1)."""
    one, other = torch.full((1, 2, 12, 13), 0.2), torch.full((1, 2, 12, 13), 0.7)
    expected = (2 * 0.2 * 0.7 + 1e-4) / (0.04 + 0.49 + 1e-4)
    assert ssim(one, other) == pytest.approx(expected, rel=1e-6)


def test_ssim_of_one_window_by_hand() -> None:
    x, y = torch.rand(2, 11, 11, generator=generator(), dtype=torch.float64)
    weights = [
        [math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / 4.5) for j in range(11)] for i in range(11)
    ]
    w = torch.tensor(weights, dtype=torch.float64) / sum(map(sum, weights))
    a, b = float((w * x).sum()), float((w * y).sum())
    var_x, var_y = (float((w * (v - m) ** 2).sum()) for v, m in ((x, a), (y, b)))
    both = float((w * (x - a) * (y - b)).sum())
    above = (2 * a * b + 0.01**2) * (2 * both + 0.03**2)
    below = (a * a + b * b + 0.01**2) * (var_x + var_y + 0.03**2)
    assert ssim(x[None, None], y[None, None]) == pytest.approx(above / below, rel=1e-6)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_mutual_information_of_gaussians(correlation: float, dimensions: int) -> None:
    x, noise = torch.randn(2, 1500, dimensions, generator=generator(1))
    y = correlation * x + math.sqrt(1 - correlation**2) * noise
    expected = -dimensions / 2 * math.log(1 - correlation**2)  # 0, 0.22, 1.16 each
    assert mutual_information(x, y) == pytest.approx(expected, abs=0.1)


def test_mutual_information_with_a_constant_is_zero() -> None:
    x = torch.randn(300, 2, generator=generator())
    assert mutual_information(x, torch.ones(300, 1)) == pytest.approx(0, abs=1e-6)


def test_principal_components_find_the_directions_that_vary() -> None:
    hidden = torch.randn(200, 2, generator=generator()) * torch.tensor([5.0, 1.0])
    turned = hidden @ torch.linalg.qr(torch.randn(6, 6, generator=generator(1)))[0][:2]
    found = principal_components(turned.view(200, 2, 3), 3)
    assert found.shape == (200, 3)
    assert float(torch.corrcoef(torch.stack([found[:, 0], hidden[:, 0]]))[0, 1].abs()) > 0.99
    assert found[:, :2].std(0).tolist() == pytest.approx([1, 1], abs=0.01)
    assert not found[:, 2].any()


# -- the decoder --


@pytest.mark.parametrize("smashed", [(8, 7, 7), (3, 1, 1), (2, 28, 28), (4, 5, 9), (50,)])
def test_a_decoder_has_the_images_shape_whatever_the_cut(smashed: tuple[int, ...]) -> None:
    model = decoder(smashed, (3, 28, 24), seed=1)
    assert model(torch.zeros(2, *smashed)).shape == (2, 3, 28, 24)


def test_the_seed_alone_decides() -> None:
    torch.manual_seed(1)
    images = blobs(80, 0)
    one = train_decoder(images, images, epochs=1, seed=3).state_dict()
    torch.manual_seed(2)
    other = train_decoder(images, images, epochs=1, seed=3).state_dict()
    third = train_decoder(images, images, epochs=1, seed=4).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["out.weight"], third["out.weight"])


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(InputError, match="0 images from 0 samples"):
        train_decoder(torch.zeros(0, 4), torch.zeros(0, 1, 12, 12), epochs=1, seed=0)


def attack(head: torch.nn.Module, epochs: int) -> tuple[Leak, Tensor]:
    known, unknown = blobs(600, 0), blobs(200, 1)
    return measure(head, (known - 0.2, known), (unknown - 0.2, unknown), epochs=epochs, seed=0)


def test_a_head_that_hides_nothing_gives_the_images_away() -> None:
    leak, guessed = attack(torch.nn.Identity(), 40)
    assert guessed.shape == (200, 1, 16, 16)
    share = (leak.bce_blind - leak.bce) / (leak.bce_blind - leak.bce_exact)
    assert share > 0.9
    assert leak.ssim > 0.9
    assert leak.decoder_nats == pytest.approx((leak.bce_blind - leak.bce) * 256)
    assert leak.mutual_nats > 1


def test_a_head_that_is_constant_gives_no_more_than_the_mean_image() -> None:
    class Constant(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), 4, 8, 8)

    leak, guessed = attack(Constant(), 20)
    assert leak.bce > leak.bce_blind - 0.01
    assert leak.decoder_nats < 0.01 * 256
    assert leak.mutual_nats == pytest.approx(0, abs=1e-6)
    assert torch.equal(guessed[0], guessed[1])
    assert leak.ssim < 0.5
