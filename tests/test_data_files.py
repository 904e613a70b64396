"""Files of datasets: read as they are meant, and refused when they are damaged."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import cifar_batch, idx_bytes, md5, write_idx, write_mnist

from edgenet.data import cifar, idx, load
from edgenet.errors import DataError

IMAGES = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_idx_plain_and_gzipped(tmp_path: Path, name: str) -> None:
    write_idx(tmp_path / name, IMAGES)
    values = idx.read(tmp_path / name, dimensions=3)
    assert values.dtype == torch.uint8
    assert values.tolist() == IMAGES.tolist()
    values += 1  # its own memory


def corrupted(content: bytes) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[-8] ^= 1  # the checksum
    return bytes(packed)


HUGE = bytes((0, 0, 8, 3)) + b"\xff" * 12


@pytest.mark.parametrize(
    ("name", "make", "text"),
    [
        ("a", lambda c: b"", "starts with nothing instead of 00000803"),
        ("a", lambda c: c[:10], "no idx file"),
        ("a", lambda c: b"\x00\x00\x0d\x03" + c[4:], "starts with 00000d03"),
        ("a", lambda c: idx_bytes(np.zeros(300)), "starts with 00000801"),
        ("a", lambda c: idx_bytes(np.zeros((0, 28, 28))), "cannot be right"),
        ("a", lambda c: HUGE, "cannot be right"),
        ("a.gz", lambda c: gzip.compress(HUGE), "cannot be right"),
        ("a", lambda c: c[:-1], "ends after 23 of 24 values"),
        ("a", lambda c: c + b"x", "goes on after its 24 values"),
        ("a.gz", lambda c: gzip.compress(c[:-1]), "ends after 23 of 24 values"),
        ("a.gz", lambda c: gzip.compress(c + b"x"), "goes on after"),
        ("a.gz", lambda c: gzip.compress(c)[:-12], "cannot be read"),
        ("a.gz", corrupted, "CRC"),
        ("a.gz", lambda c: c, "cannot be read"),
        ("a.gz", lambda c: b"", "starts with nothing"),
        ("a.gz", lambda c: gzip.compress(c)[:10] + b"\xff" * 20, "cannot be read"),
    ],
)
def test_damaged_idx_files_are_refused(
    tmp_path: Path, name: str, make: Callable[[bytes], bytes], text: str
) -> None:
    path = tmp_path / name
    path.write_bytes(make(idx_bytes(IMAGES)))
    with pytest.raises(DataError) as caught:
        idx.read(path, dimensions=3)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_like_mnists_is_read(tmp_path: Path, suffix: str) -> None:
    write_mnist(tmp_path, suffix=suffix)
    data = load("mnist", tmp_path)
    assert data.train_x.shape == (20, 1, 28, 28)
    assert data.train_y.tolist() == [*range(10), *range(10)]
    assert data.test_x.dtype == torch.uint8
    assert data.test_y.dtype == torch.int64
    assert load("mnist", tmp_path) is data


def test_emnist_is_turned_upright_and_counts_from_zero(tmp_path: Path) -> None:
    stored = np.zeros((26, 28, 28))
    stored[:, 5, 7] = 9
    for part in ("train", "test"):
        path = tmp_path / f"EMNIST/raw/emnist-letters-{part}"
        write_idx(path.with_name(f"{path.name}-images-idx3-ubyte"), stored)
        write_idx(path.with_name(f"{path.name}-labels-idx1-ubyte"), np.arange(26) + 1)
    data = load("emnist-letters", tmp_path)
    assert data.train_x[0, 0].nonzero().tolist() == [[7, 5]]
    assert data.test_y.tolist() == list(range(26))


@pytest.mark.parametrize(
    ("file", "values", "text"),
    [
        ("train-labels-idx1-ubyte.gz", np.arange(19), "20 training images, but 19 labels"),
        ("t10k-labels-idx1-ubyte.gz", np.arange(10) + 1, "labels go from 1 to 10, not from 0 to 9"),
        ("train-images-idx3-ubyte.gz", np.zeros((20, 28, 27)), "28x27 instead of 28x28"),
    ],
)
def test_files_that_do_not_fit_together(
    tmp_path: Path, file: str, values: np.ndarray, text: str
) -> None:
    write_mnist(tmp_path)
    write_idx(tmp_path / "MNIST/raw" / file, values)
    with pytest.raises(DataError, match=text):
        load("mnist", tmp_path)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with two training batches and the test batch of a CIFAR-10 of our own."""
    folder = tmp_path / cifar.FOLDER
    folder.mkdir()
    for i, (table, name) in enumerate(
        [(cifar.TRAIN, "data_batch_2"), (cifar.TRAIN, "data_batch_4"), (cifar.TEST, "test_batch")]
    ):
        content = cifar_batch(10 * i)
        (folder / name).write_bytes(content)
        monkeypatch.setitem(table, name, md5(content))
    return tmp_path


def test_cifar_takes_the_batches_there_are_and_says_so(published: Path) -> None:
    data = load("cifar-10", published)
    assert data.train_x.shape == (20_000, 3, 32, 32)
    assert data.test_x.shape == (10_000, 3, 32, 32)
    assert data.train_x[0, :, 0, 0].tolist() == [1, 0, 0]
    assert data.train_x[-1, :, 31, 31].tolist() == [11, 10, 10]
    assert data.test_y[:12].tolist() == [*range(10), 0, 1]
    (note,) = data.notes
    assert "only data_batch_2, data_batch_4 found, 20000 of 50000 training images" in note


def test_cifar_of_another_md5_is_never_opened(published: Path) -> None:
    path = published / cifar.FOLDER / "data_batch_2"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"MD5 is .* it was not opened"):
        load("cifar-10", published)


def test_cifar_needs_a_test_batch_and_some_training_batch(published: Path) -> None:
    (published / cifar.FOLDER / "test_batch").rename(published / "aside")
    with pytest.raises(DataError, match="has no cifar-10-batches-py/test_batch"):
        load("cifar-10", published)
    (published / "aside").rename(published / cifar.FOLDER / "test_batch")
    for name in ("data_batch_2", "data_batch_4"):
        (published / cifar.FOLDER / name).unlink()
    with pytest.raises(DataError, match=r"has no cifar-10-batches-py/data_batch_1 \.\."):
        load("cifar-10", published)


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


def test_the_unpickler_knows_nothing_but_arrays(tmp_path: Path) -> None:
    """Even a file whose MD5 were right could not run anything."""
    content = pickle.dumps({"data": Malicious(tmp_path / "done"), "labels": []})
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(pickle.UnpicklingError, match="mkdir has no place"):
        cifar.read(tmp_path, {"b": md5(content)})
    assert not (tmp_path / "done").exists()
