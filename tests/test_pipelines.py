"""Pipelines against one process on the same seed, over memory links."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chains import EXACT, MOVING, chain, finish, one_torch_thread, reference, single
from small_runs import assert_same
from torch import nn

from edgenet.node.plan import resolve


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


NORMALISED = {"model": "vgg16-bn-w16", "data": {"name": "digits", "train": 96, "test": 16},
              "batch": 16, "rounds": 1, "lr": 0.03}  # fmt: skip
"""Where in float32 the rounding of one weight is soon a difference of percents."""


@pytest.mark.parametrize(
    ("scheme", "settings"),
    [("mcpipe", NORMALISED), ("mcpipe", {}), ("mcpipe-adaptive", {})],
    ids=["mcpipe-normalised", "mcpipe", "adaptive"],
)
def test_in_float64_no_more_than_rounding_is_between_the_exact_schemes(
    scheme: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        piped, other = (
            finish(chain(name, 3, window=4, **settings), tmp_path / name)
            for name in ("pipedream", scheme)
        )
    finally:
        torch.set_default_dtype(torch.float32)
    for key, value in piped.items():
        torch.testing.assert_close(other[key], value, rtol=0, atol=1e-12)


PLACES = list(itertools.product((2, 3, 4), range(1, 7)))
"""Every number of workers with every window."""


@pytest.mark.parametrize(
    ("optimizer", "workers", "window"),
    [*((MOVING, *place) for place in PLACES), *(({}, *place) for place in PLACES[::2])],
    ids=lambda each: each if isinstance(each, int) else "moving" if each else "plain",
)
def test_exact_schemes_are_the_reference_that_follows_the_same_versions(
    optimizer: dict[str, Any], workers: int, window: int, tmp_path: Path
) -> None:
    settings = {"window": window, "optimizer": {"name": "sgd", **optimizer}, "lr": 0.02}
    expected = reference(chain("pipedream", workers, **settings))
    for scheme in EXACT:
        spec = chain(scheme, workers, **settings)
        assert_same(finish(spec, tmp_path / scheme), expected)


@pytest.mark.parametrize(
    "scheme",
    ["model-parallel", "gpipe", "1f1b", "pipedream", "pipedream-2bw", "greedy", *EXACT[1:]],
)
def test_with_window_1_every_pipeline_is_centralized(scheme: str, tmp_path: Path) -> None:
    central = finish(chain("centralized", 2), tmp_path / "central")
    assert_same(finish(chain(scheme, 3, window=1), tmp_path / "piped"), central)


@pytest.mark.parametrize(("scheme", "window"), [("pipedream", 1), ("1f1b", 2)])
def test_rounds_may_be_so_many_mini_batches(scheme: str, window: int, tmp_path: Path) -> None:
    """Four rounds of three mini-batches are three epochs of four; with a window of 1, or a pipeline
    that runs empty before each update anyhow, nothing else is different."""
    samples = {"train": 4 * 16, "test": 50}
    epochs = chain(scheme, 3, window=window, data=samples, batch=16, rounds=3)
    spans = chain(scheme, 3, window=window, data=samples, batch=16, rounds=4, span=3)
    assert_same(finish(spans, tmp_path / "spans"), finish(epochs, tmp_path / "epochs"), exact=True)


@pytest.mark.parametrize("scheme", ["gpipe", "1f1b"])
@pytest.mark.parametrize("workers", [2, 4])
def test_micro_batches_make_one_step_on_the_joint_batch(
    scheme: str, workers: int, tmp_path: Path
) -> None:
    """90 samples in batches of 20: the last is of 10, and cut into parts of 3, 3, 2, 2."""
    central = finish(chain("centralized", 2, batch=20), tmp_path / "central")
    spec = chain(scheme, workers, batch=20, window=4)
    assert_same(finish(spec, tmp_path / "piped"), central)


def test_greedy_is_not_exact_and_2bw_is_a_step_behind(tmp_path: Path) -> None:
    central = finish(chain("centralized", 2), tmp_path / "central")
    for scheme in ("greedy", "pipedream-2bw"):
        other = finish(chain(scheme, 3, window=4), tmp_path / scheme)
        assert max(float((central[key] - other[key]).abs().max()) for key in central) > 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        {"workers": 3, "window": 4, "batch": 20},
        {"workers": 2, "window": 8, "batch": 4, "data": {"name": "digits", "train": 32}},
        {"workers": 4, "window": 6, "batch": 1, "data": {"name": "digits", "train": 6}},
        {"workers": 2, "batch": 16, "local_epochs": 2, "data": {"name": "digits", "train": 33}},
    ],
    ids=["parts", "few-parts", "no-parts", "last-of-one"],
)
def test_2bw_is_gradient_descent_one_step_behind(settings: dict[str, Any], tmp_path: Path) -> None:
    """Also where the mini-batches that may be under way do not fill the window."""
    spec = chain("pipedream-2bw", **settings)
    model, batches = single(spec)
    newest = {key: value.detach().clone() for key, value in model.named_parameters()}
    for _ in range(spec.train.rounds):
        before = newest
        for x, y in (batch for _ in range(spec.train.local_epochs) for batch in batches):
            used = {key: value.clone().requires_grad_() for key, value in before.items()}
            output = torch.func.functional_call(model, used, x)
            nn.functional.cross_entropy(output, y).backward()
            before = newest
            newest = {key: newest[key] - spec.train.lr * used[key].grad for key in newest}
    assert_same(finish(spec, tmp_path / "run"), newest)


@pytest.mark.parametrize("scheme", ["pipedream", "1f1b"])
def test_a_master_that_feeds_changes_nothing(scheme: str, tmp_path: Path) -> None:
    works = finish(chain(scheme, 3), tmp_path / "works")
    feeds = chain(scheme, 3, feeder=True)
    plan = resolve(feeds)
    assert plan.layout.workers == ("worker0", "worker1", "worker2")
    assert_same(finish(feeds, tmp_path / "feeds"), works, exact=True)


def test_local_is_centralized_at_the_master(tmp_path: Path) -> None:
    spec = chain("local", 2, feeder=True)
    assert [seat.name for seat in resolve(spec).seats] == ["master"]
    central = finish(chain("centralized", 2), tmp_path / "central")
    assert_same(finish(spec, tmp_path / "local"), central, exact=True)
