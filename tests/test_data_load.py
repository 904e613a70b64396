"""Where datasets come from: the package, EDGENET_DATA, a download; and the sentences otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from data_files import write_mnist
from facilities import needs

from edgenet.data import DATASETS, Dataset, _torchvision, load, subset
from edgenet.errors import DataError, InputError
from edgenet.topology.spec import Data


def test_digits_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENET_DATA", "/nonexistent")
    data = load("digits")
    assert (len(data.train_y), len(data.test_y)) == (1437, 360)
    assert data.shape == (1, 28, 28)
    assert data.train_x.dtype == torch.uint8
    assert int(data.train_x.max()) == 255
    for part in (data.train_y, data.test_y):
        share = part.bincount(minlength=10) / len(part)
        assert share.min() > 0.095
        assert share.max() < 0.105


def test_digits_are_the_same_everywhere() -> None:
    """The pixels, by a sum that any change in file, resizing or split would alter."""
    data = load("digits")
    weights = torch.arange(784).view(28, 28) % 97
    assert int((data.test_x.long() * weights).sum()) == 1_048_319_268
    assert int((data.train_x.long() * weights).sum()) == 4_219_449_157


def test_an_unknown_dataset_lists_the_choices() -> None:
    with pytest.raises(InputError, match="'imagenet' is unknown; the choices are digits, mnist"):
        load("imagenet")


def test_a_folder_without_the_files_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        load("fashion-mnist")
    assert str(caught.value) == (
        f"dataset 'fashion-mnist': {tmp_path} has no "
        "FashionMNIST/raw/train-images-idx3-ubyte.gz; set EDGENET_DATA to a folder that holds it "
        "in torchvision's layout, or unset EDGENET_DATA to have it downloaded"
    )


def test_the_given_root_comes_before_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENET_DATA", "/nonexistent")
    write_mnist(tmp_path, train=30)
    assert len(load("mnist", tmp_path).train_y) == 30


def stand_in(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[str]:
    """Puts a torchvision in place that 'downloads' noise, or fails half-way."""
    arrivals = []

    def mnist(root: str, *, download: bool) -> None:
        assert download
        arrivals.append(root)
        print("a progress line")
        write_mnist(Path(root))
        if error is not None:
            raise error

    monkeypatch.setattr(_torchvision, "_datasets", lambda: SimpleNamespace(MNIST=mnist))
    return arrivals


@pytest.mark.parametrize("variable", ["EDGENET_DATA", "XDG_CACHE_HOME"])
def test_what_is_absent_is_downloaded_once(
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "new"))
    arrivals = stand_in(monkeypatch)
    assert len(load("mnist").train_y) == 20
    load("mnist")
    assert len(arrivals) == 1
    root = tmp_path / "new" / ("" if variable == "EDGENET_DATA" else "edgenet/data")
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    assert capsys.readouterr().out == ""  # standard output belongs to --format json


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("File not found")])
def test_a_failed_download_leaves_nothing_and_says_what_to_do(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stand_in(monkeypatch, error)
    with pytest.raises(DataError) as caught:
        load("mnist")
    text, root = str(caught.value), tmp_path / "edgenet/data"
    assert f"dataset 'mnist': {root} has no MNIST/raw/train-images-idx3-ubyte.gz" in text
    assert "(EDGENET_DATA is not set)" in text
    assert str(error) in text
    assert "set EDGENET_DATA to a folder that holds it" in text
    assert list(root.iterdir()) == []


def test_a_root_that_cannot_be_made_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path / "file" / "data"))
    stand_in(monkeypatch)
    with pytest.raises(DataError, match="could not be downloaded"):
        load("mnist")


def test_torchvision_can_be_imported_where_its_operators_cannot() -> None:
    program = "from edgenet.data import _torchvision as t; print(t._datasets().EMNIST.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout == "EMNIST\n"


def test_subset_draws_by_the_seed() -> None:
    data = load("digits")
    small = subset(data, Data(train=100, test=50), 1)
    assert (len(small.train_y), len(small.test_y)) == (100, 50)
    assert subset(data, Data(train=100, test=50), 1) is small
    assert not torch.equal(subset(data, Data(train=100), 2).train_y, small.train_y)
    assert subset(data, Data(), 1).train_x is data.train_x
    assert small.test_y.unique().numel() == 10
    rows = {tuple(image.flatten().tolist()) for image in data.train_x}
    assert all(tuple(image.flatten().tolist()) in rows for image in small.train_x)


@pytest.mark.parametrize(("spec", "text"), [
    (Data(train=1438), "train.data.train is 1438, but digits has 1437 train samples"),
    (Data(test=0), "train.data.test is 0, but digits has 360 test samples"),
])  # fmt: skip
def test_subset_refuses_what_is_not_there(spec: Data, text: str) -> None:
    with pytest.raises(DataError) as caught:
        subset(load("digits"), spec, 1)
    assert text in str(caught.value)


def test_a_dataset_cannot_be_empty() -> None:
    x, y = torch.zeros(0, 1, 2, 2, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    with pytest.raises(DataError, match="there are no training images"):
        Dataset(
            name="a", train_x=x, train_y=y, test_x=x, test_y=y, classes=2, mean=(0.0,), std=(1.0,)
        )


REAL = {
    "mnist": ([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], 60_000),
    "fashion-mnist": ([1000] * 10, 60_000),
    "emnist-letters": ([800] * 26, 124_800),
    "cifar-10": ([1000] * 10, None),
}


@needs("EDGENET_DATA")
@pytest.mark.parametrize("name", REAL)
def test_real_data(name: str) -> None:
    data = load(name)
    tested, trained = REAL[name]
    assert data.test_y.bincount().tolist() == tested
    if trained is not None:
        assert len(data.train_y) == trained
    images = data.train_x[:20_000]
    x = data.normalised(images)
    assert x.dtype == torch.float32
    assert x.mean((0, 2, 3)).abs().max() < 0.03
    assert (x.std((0, 2, 3)) - 1).abs().max() < 0.03


@pytest.mark.parametrize("name", DATASETS)
def test_the_catalogue_tells_shapes_without_reading(name: str) -> None:
    source = DATASETS[name]
    assert len(source.mean) == len(source.std) == source.shape[0]
    assert (name == "cifar-10") == (source.shape == (3, 32, 32))
