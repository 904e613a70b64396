"""Views of samples: held against torchvision's, and the same whatever is asked for together."""

from __future__ import annotations

import pytest
import torch
from test_data_batches import numbered
from torch import Tensor

from edgenet.data import VIEWS, Dataset, Eye, load
from edgenet.data._torchvision import _declare_missing_operators
from edgenet.data.views import uniform
from edgenet.errors import InputError

PAPER = ("blur", "erase", "hflip", "vflip", "crop")
ALL = torch.arange(300)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def seen(dataset: Dataset, view: str, seed: int = 1, source: int = 0) -> Tensor:
    return Eye(dataset, view, seed, source).train(ALL)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_depends_on_seed_sample_and_source_alone(view: str, digits: Dataset) -> None:
    eye, whole = Eye(digits, view, 1, 0), seen(digits, view)
    some = torch.tensor([299, 7, 7, 250])
    assert torch.equal(eye.train(some), whole[some])
    assert tuple(whole.shape[1:]) == eye.shape
    same = [torch.equal(seen(digits, view, *key), whole) for key in ((1, 0), (2, 0), (1, 1))]
    random = view in ("erase", "crop", "noise")
    assert same == [True, not random, not random]


def test_test_samples_are_seen_by_numbers_of_their_own() -> None:
    data = numbered(20, 20)
    eye = Eye(data, "noise", 1, 0)
    assert not torch.equal(eye.train(torch.arange(20)), eye.test(torch.arange(20)))


@pytest.mark.parametrize("view", PAPER)
def test_images_stay_images(view: str, digits: Dataset) -> None:
    images = seen(digits, view)
    assert (images.shape, images.dtype) == (digits.train_x[ALL].shape, torch.uint8)
    assert not torch.equal(images, digits.train_x[ALL])
    x = Eye(digits, view, 1, 0).inputs(images)
    torch.testing.assert_close(x, digits.normalised(images))


def test_torchvision_would_have_made_the_same(digits: Dataset) -> None:
    _declare_missing_operators()
    from torchvision.transforms.v2 import functional as transforms

    images = digits.train_x[ALL]
    assert torch.equal(seen(digits, "hflip"), transforms.hflip(images))
    assert torch.equal(seen(digits, "vflip"), transforms.vflip(images))
    blurred = transforms.gaussian_blur(images, [5, 5], [1.5, 1.5])
    assert (seen(digits, "blur").int() - blurred.int()).abs().max() <= 1  # half is rounded to even
    cropped = seen(digits, "crop")
    for image, mine in zip(images[:40], cropped, strict=False):
        offers = torch.stack(
            [
                transforms.resized_crop(image, top, left, 21, 21, [28, 28], antialias=False)
                for top in range(8)
                for left in range(8)
            ]
        )
        assert (offers.int() - mine.int()).abs().flatten(1).amax(1).min() <= 1


def test_erased_is_one_rectangle_of_the_size_that_was_asked_for() -> None:
    white = torch.full((2000, 1, 28, 28), 255, dtype=torch.uint8)
    labels = torch.arange(2000) % 2
    data = Dataset(
        name="white", train_x=white, train_y=labels, test_x=white, test_y=labels, classes=2,
        mean=(0.0,), std=(1.0,),
    )  # fmt: skip
    gone = Eye(data, "erase", 1, 0).train(torch.arange(2000))[:, 0] == 0
    tall, wide = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(gone.sum((1, 2)), tall * wide)
    share = (tall * wide) / 28**2
    assert share.min() > 0.01
    assert share.max() < 0.36
    assert 0.15 < share.mean() < 0.19  # uniform between 2 and 33 %
    assert gone.any(0).all()  # everywhere once


def test_crops_come_from_everywhere(digits: Dataset) -> None:
    row = torch.arange(28, dtype=torch.uint8).view(1, 1, 1, -1).expand(500, 1, 28, 28)
    labels = torch.arange(500) % 2
    data = Dataset(
        name="rows", train_x=row, train_y=labels, test_x=row, test_y=labels, classes=2,
        mean=(0.0,), std=(1.0,),
    )  # fmt: skip
    crops = Eye(data, "crop", 1, 0).train(torch.arange(500))
    assert set(crops[:, 0, 0, 0].tolist()) == set(range(8))
    assert set((crops[:, 0, 0, -1] - crops[:, 0, 0, 0]).tolist()) == {20}


def test_a_sensor_reads_a_vector() -> None:
    data = numbered(4, 4)
    eye = Eye(data, "sensor", 1, 0)
    vectors = eye.train(torch.tensor([2, 3]))
    torch.testing.assert_close(vectors, torch.tensor([[2.0], [3.0]]).expand(2, 6) / 255)
    assert eye.inputs(vectors) is vectors


def test_numbers_are_uniform_and_do_not_depend_on_each_other() -> None:
    table = uniform(12345, torch.arange(20_000), 3)
    assert table.min() >= 0
    assert table.max() < 1
    torch.testing.assert_close(table.mean(0), torch.full((3,), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(table.var(0), torch.full((3,), 1 / 12), atol=0.002, rtol=0)
    together = torch.corrcoef(torch.cat([table[1:], table[:-1]], dim=1).T)
    assert (together - torch.eye(6)).abs().max() < 0.03


def test_an_unknown_view_lists_the_known() -> None:
    with pytest.raises(InputError, match="views are blur, erase"):
        Eye(numbered(), "upside-down", 1, 0)
