"""The datasets by name, and where their files are.

`EDGENET_DATA` names a folder in torchvision's layout (MNIST/raw, FashionMNIST/raw, EMNIST/raw,
cifar-10-batches-py); its files are only read. Where the variable is not set, or its folder does not
exist yet, torchvision downloads what is asked for, once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from edgenet.data import cifar, digits, idx
from edgenet.data.dataset import Dataset
from edgenet.errors import DataError, InputError

VARIABLE = "EDGENET_DATA"
"""The environment variable that names the folder of the datasets."""

EMBEDDED = frozenset({"digits"})
"""The datasets that come with edgenet: they need no folder."""

Parts = tuple[Tensor, Tensor, Tensor, Tensor]
"""train_x, train_y, test_x, test_y."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """How one dataset is read."""

    classes: int
    """Number of labels."""
    shape: tuple[int, int, int] = (1, 28, 28)
    """(channels, height, width) of an image."""
    mean: tuple[float, ...]
    """Per channel, of the whole training set, pixels in 0..1 (computed from it)."""
    std: tuple[float, ...]
    """Likewise."""
    missing: Callable[[Path], str]
    """What a folder lacks of it; '' when nothing."""
    read: Callable[[Path], Parts]
    """Reads it from a folder that lacks nothing."""
    notes: Callable[[Path], tuple[str, ...]] = lambda root: ()
    """What readers of results have to know about the files there."""


def load(name: str, root: Path | None = None) -> Dataset:
    """The dataset `name`. Loading it again in this process, or in a child forked from it, costs
    nothing and shares the memory.

    Args:
        name: one of `DATASETS`.
        root: a folder to use instead of the one that `EDGENET_DATA` names.

    Raises:
        InputError: the name is unknown.
        DataError: files are missing, damaged or not the published ones, or a download failed.
    """
    if name not in DATASETS:
        raise InputError(f"dataset {name!r} is unknown; the choices are {', '.join(DATASETS)}")
    if name in EMBEDDED:
        return _load(name, Path())
    return _load(name, _folder(name, root))


def _folder(name: str, root: Path | None) -> Path:
    """The folder that holds the dataset, after a download if that is allowed and needed."""
    given = root or os.environ.get(VARIABLE)
    folder = Path(given or _cache()).expanduser()
    lacks = DATASETS[name].missing(folder)
    if not lacks:
        return folder.resolve()
    told = f"dataset {name!r}: {folder} has no {lacks}"
    remedy = f"set {VARIABLE} to a folder that holds it in torchvision's layout"
    if given and folder.is_dir():
        raise DataError(f"{told}; {remedy}, or unset {VARIABLE} to have it downloaded")
    from edgenet.data._torchvision import download

    try:
        download(name, folder)
    except DataError as error:
        unset = f" ({VARIABLE} is not set)" if not given else ""
        raise DataError(f"{told}{unset}, and {error}; {remedy}") from error
    if DATASETS[name].missing(folder):
        raise DataError(f"{told}, not even after a download; {remedy}")
    return folder.resolve()


def _cache() -> str:
    """Where downloads go that no variable directs."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return f"{base}/edgenet/data"


@functools.lru_cache(maxsize=8)
def _load(name: str, folder: Path) -> Dataset:
    source = DATASETS[name]
    train_x, train_y, test_x, test_y = source.read(folder)
    return Dataset(
        name=name,
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        classes=source.classes,
        mean=source.mean,
        std=source.std,
        notes=source.notes(folder),
    )


@dataclass(frozen=True)
class _Idx:
    """A dataset in four idx files: `<train>-images-idx3-ubyte` and so on, plain or gzipped."""

    folder: str
    """Below the root."""
    train: str
    """How the names of the training files begin."""
    test: str
    """How the names of the test files begin."""
    first_label: int = 0
    """EMNIST counts its letters from 1."""
    transposed: bool = False
    """EMNIST stores its images with rows and columns exchanged."""

    def missing(self, root: Path) -> str:
        """The first file that is not there."""
        for part in (self.train, self.test):
            for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
                if idx.find(root / self.folder, name) is None:
                    return f"{self.folder}/{name}.gz"
        return ""

    def read(self, root: Path) -> Parts:
        """All four files."""
        return (*self._part(root, self.train), *self._part(root, self.test))

    def _part(self, root: Path, part: str) -> tuple[Tensor, Tensor]:
        folder = root / self.folder
        path = idx.find(folder, f"{part}-images-idx3-ubyte") or folder
        x = idx.read(path, dimensions=3)
        if x.shape[1:] != (28, 28):
            raise DataError(f"{path} has images of {x.shape[1]}x{x.shape[2]} instead of 28x28")
        y = idx.read(idx.find(folder, f"{part}-labels-idx1-ubyte") or folder, dimensions=1).long()
        x = x.transpose(1, 2).contiguous() if self.transposed else x
        return x[:, None], y - self.first_label


def _cifar_missing(root: Path) -> str:
    folder = root / cifar.FOLDER
    if not (folder / "test_batch").is_file():
        return f"{cifar.FOLDER}/test_batch"
    return "" if _cifar_batches(root) else f"{cifar.FOLDER}/data_batch_1 .. data_batch_5"


def _cifar_batches(root: Path) -> dict[str, str]:
    """The training batches that are there: any of the five will do."""
    folder = root / cifar.FOLDER
    return {name: md5 for name, md5 in cifar.TRAIN.items() if (folder / name).is_file()}


def _cifar_read(root: Path) -> Parts:
    folder = root / cifar.FOLDER
    return (*cifar.read(folder, _cifar_batches(root)), *cifar.read(folder, cifar.TEST))


def _cifar_notes(root: Path) -> tuple[str, ...]:
    there = _cifar_batches(root)
    if len(there) == len(cifar.TRAIN):
        return ()
    return (
        f"cifar-10: only {', '.join(there)} found, {len(there)}0000 of 50000 training images; "
        "accuracies are not comparable with published ones",
    )


def _idx_source(files: _Idx, *, classes: int, mean: float, std: float) -> Source:
    return Source(classes=classes, mean=(mean,), std=(std,), missing=files.missing, read=files.read)


DATASETS: Mapping[str, Source] = {
    "digits": Source(
        classes=10,
        mean=(0.3058,),
        std=(0.3249,),
        missing=lambda root: "",
        read=lambda root: digits.read(),
    ),
    "mnist": _idx_source(_Idx("MNIST/raw", "train", "t10k"), classes=10, mean=0.1307, std=0.3081),
    "fashion-mnist": _idx_source(
        _Idx("FashionMNIST/raw", "train", "t10k"), classes=10, mean=0.2860, std=0.3530
    ),
    "emnist-letters": _idx_source(
        _Idx("EMNIST/raw", "emnist-letters-train", "emnist-letters-test", 1, True),
        classes=26,
        mean=0.1722,
        std=0.3309,
    ),
    "cifar-10": Source(
        classes=10,
        shape=(3, 32, 32),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        missing=_cifar_missing,
        read=_cifar_read,
        notes=_cifar_notes,
    ),
}
"""Name -> how it is read; the keys are the choices for `train.data.name`."""
