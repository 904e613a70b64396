"""Pipelines between processes linked by gloo, against one process that uses the same versions.

Each number of workers meets each window, and each scheme each number of workers, with windows that
differ: a Latin square.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from chains import MOVING, chain, one_torch_thread, reference
from forked_runs import ForkedRuns
from small_runs import assert_same

SCHEMES = ("gpipe", "1f1b", "pipedream", "mcpipe", "mcpipe-adaptive", "pipedream-2bw")
SQUARE = [
    (SCHEMES[(window + 2 * workers) % len(SCHEMES)], workers, window)
    for workers in (2, 3, 4)
    for window in range(1, 7)
]


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedRuns]:
    with one_torch_thread(), ForkedRuns() as runs:
        yield runs


@pytest.mark.processes
@pytest.mark.parametrize(("scheme", "workers", "window"), [("model-parallel", 3, 1), *SQUARE])
def test_gloo_processes_end_as_one_that_follows_the_same_versions(
    scheme: str, workers: int, window: int, forked: ForkedRuns, tmp_path: Path
) -> None:
    spec = chain(
        scheme,
        workers,
        window=window,
        data={"name": "digits", "train": 75, "test": 10},
        lr=0.02,
        optimizer={"name": "sgd", **MOVING},
    )
    forked.run(spec, tmp_path / "run")
    ended = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert_same(ended, reference(spec))
