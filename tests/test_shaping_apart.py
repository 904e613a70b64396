"""Nodes that shape their own interfaces: which networks that does for, and what is taken where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from facilities import needs, netem_runner

from edgenet.errors import ShapingError
from edgenet.shaping import apart
from edgenet.shaping.choice import Shaping, available
from edgenet.topology import loads

HEAD = "name: t\ntrain: {scheme: fedavg, rounds: 1}\nnodes: {base: {}, member: {count: 2}}\n"
WIRES = loads(HEAD + "links: {lan: {rate: 1 Mbit, base: base, members: member}}")
SHARED = loads(HEAD + "links: {air: {wifi: 802.11n-5GHz, base: base, members: member}}")
NONE = "the kernel has no sch_netem; load it on the host with `modprobe sch_netem`"


@pytest.fixture(params=[None, NONE])
def reason(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Why this container cannot have netem; None: it can."""
    monkeypatch.setattr(apart, "available", lambda: request.param)
    found: str | None = request.param
    return found


def test_auto_takes_netem_where_it_works_and_else_paces(reason: str | None) -> None:
    expected = (
        Shaping("netem", "auto: netem works on this node's interface")
        if reason is None
        else Shaping("paced", "auto: no netem: the kernel has no sch_netem")
    )
    assert apart.choose("auto", WIRES) == expected


def test_netem_by_name_is_netem_or_an_error(reason: str | None) -> None:
    if reason is None:
        assert apart.choose("netem", WIRES) == Shaping("netem", "asked for by name")
        return
    with pytest.raises(
        ShapingError, match=r"not possible in this container: .* `modprobe sch_netem"
    ):
        apart.choose("netem", WIRES)


def test_a_shared_medium_is_paced_and_never_netem(reason: str | None) -> None:
    found = apart.choose("auto", SHARED)
    assert found.used == "paced"
    assert found.why.startswith("auto: no netem: 'air' is shared, and nodes that each shape")
    with pytest.raises(ShapingError, match="'air' is shared"):
        apart.choose("netem", SHARED)


@pytest.mark.parametrize("asked", ["paced", "none"])
def test_what_needs_nothing_of_the_kernel_is_always_there(reason: str | None, asked: str) -> None:
    assert apart.choose(asked, SHARED) == Shaping(asked, "asked for by name")


def test_relay_and_unknown_words_are_refused() -> None:
    with pytest.raises(ShapingError, match=r"containers have none .*`edgenet run --shaping relay"):
        apart.choose("relay", WIRES)
    with pytest.raises(ShapingError, match="no shaping 'fast'; the choices are auto, netem"):
        apart.choose("fast", WIRES)


def test_without_the_capability_the_flag_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "capabilities", lambda: 0)
    assert apart.available() == (
        "this process lacks CAP_NET_ADMIN; run it as root with --cap-add NET_ADMIN"
    )


@pytest.mark.root
@pytest.mark.processes
@needs("root", "network namespaces", "sch_netem")
def test_what_a_container_sends_is_delayed() -> None:
    elsewhere = [] if available("netem") is None else [netem_runner()]
    trial = Path(__file__).with_name("apart_trial.py")
    done = subprocess.run(
        [*elsewhere, sys.executable, str(trial)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(25e-3, abs=2e-3), "one way only: 25 ms"
