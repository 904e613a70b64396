"""What a pipeline advises where memory is short: it takes less, it fits, and sizes are a run's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chains import chain, finish, one_torch_thread
from small_runs import events

from edgenet.node.plan import Plan, resolve
from edgenet.schemes.advice import RUNTIME_BYTES, advise, needs
from edgenet.schemes.room import STRATEGY
from edgenet.topology.load import dump, loads

SHAPE: dict[str, Any] = {"split": ["C5", "F2"], "window": 4, "windows": [4, 4, 1]}
PARTS = re.compile(r"train\.(scheme|window|split) (\[.*?\]|[\w-]+)")


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


def boards(left: int | None, **train: Any) -> Plan:
    """Three workers, on devices with so many bytes for the model (None: hosts)."""
    given = list[str]()
    if left is not None:
        given = [
            f"devices={{board: {{memory_bytes: {RUNTIME_BYTES + left}, cores: 1}}}}",
            "nodes={worker: {device: board, count: 3}}",
        ]
    return resolve(loads(dump(chain(workers=3, **{**SHAPE, **train})), "t.yaml", given))


def followed(advice: str, left: int | None, **train: Any) -> Iterator[tuple[Plan, str]]:
    """What the sentence names, each laid out, with the bytes that it says."""
    for found in advice.split("; what ")[1].split(": ", 1)[1].split(", or "):
        asked = {key: yaml.safe_load(value) for key, value in PARTS.findall(found)}
        if "window" in asked:
            asked["windows"] = [min(asked["window"], each) for each in SHAPE["windows"]]
        yield boards(left, **{**train, **asked}), found


@pytest.mark.parametrize("left", [None, 20_000, 500_000, 1_500_000, 10**9])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("scheme", ["pipedream", "mcpipe", "mcpipe-adaptive", "greedy", "1f1b"])
def test_what_is_named_takes_less_and_fits(scheme: str, momentum: float, left: int | None) -> None:
    train = {"scheme": scheme, "optimizer": {"name": "sgd", "momentum": momentum}}
    layout = boards(left, **train).layout
    for node in ("worker0", "worker1"):
        now, said = needs(layout, node), advise(layout, node)
        assert f"which takes {now / 1e6:.1f} MB" in said
        if left is not None and left < 100_000:
            assert "no scheme, window or split fits" in said
            continue
        for plan, named in followed(said, left, **train):
            then = needs(plan.layout, node)
            assert then < now
            assert left is None or then <= left
            assert named.endswith(f"({then / 1e6:.1f} MB)")


@pytest.mark.parametrize("scheme", STRATEGY)
def test_sizes_are_those_of_a_run(scheme: str, tmp_path: Path) -> None:
    """To the byte; pipedream-2bw's gradients need not meet its fullest window."""
    spec = chain(scheme, 3, **SHAPE, optimizer={"name": "sgd", "momentum": 0.9})
    layout = resolve(spec).layout
    finish(spec, tmp_path)
    for node in layout.workers:
        parts = ("versions", "scratch", "stash", "saved", "optimiser")
        peak = max(sum(e[key] for key in parts) for e in events(tmp_path, node, "memory"))
        assert peak <= needs(layout, node)
        assert peak == needs(layout, node) or scheme == "pipedream-2bw"
