"""Which back end is taken, and what is said when it cannot be."""

from __future__ import annotations

import pytest
from facilities import needs

from edgenet.errors import ShapingError
from edgenet.shaping import choice
from edgenet.shaping.choice import Shaping, available, choose
from edgenet.topology import loads

HEAD = "name: t\ntrain: {scheme: fedavg, rounds: 1}\nnodes: {base: {}, member: {count: 2}}\n"
EQUAL = loads(HEAD + "links: {cell: {rate: 1 Mbit, base: base, members: member, shared: true}}")
UNEQUAL = loads(
    HEAD.replace("base: {}, member: {count: 2}", "base: {at: [0, 0]}, a: {at: [90, 0]}, "
                 "b: {at: [400, 0]}")
    + "links: {cell: {lte: {bandwidth: 20 MHz}, base: base, members: [a, b]}}"
)  # fmt: skip


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Why this machine cannot do a back end; what is not in it, it can."""
    reasons: dict[str, str | None] = {}
    monkeypatch.setattr(choice, "available", reasons.get)
    return reasons


def test_auto_takes_the_first_that_works(machine: dict[str, str | None]) -> None:
    assert choose("auto", EQUAL, namespaces=True) == Shaping("netem", "auto: netem works here")
    machine["netem"] = "the kernel has no sch_netem; load it"
    assert choose("auto", EQUAL, namespaces=True) == Shaping(
        "relay", "auto: no netem: the kernel has no sch_netem; relay works here"
    )
    machine["relay"] = "/dev/net/tun does not open; run as root"
    assert choose("auto", EQUAL, namespaces=True) == Shaping(
        "paced",
        "auto: no netem: the kernel has no sch_netem; no relay: /dev/net/tun does not open",
    )


def test_auto_without_namespaces_paces(machine: dict[str, str | None]) -> None:
    assert choose("auto", EQUAL, namespaces=False).used == "paced"


def test_auto_leaves_netem_where_it_would_share_wrongly(machine: dict[str, str | None]) -> None:
    found = choose("auto", UNEQUAL, namespaces=True)
    assert found.used == "relay"
    assert "no netem: netem cannot share 'cell/up' among members of unequal rates" in found.why


@pytest.mark.parametrize("asked", ["netem", "relay"])
def test_by_name_it_is_that_or_an_error(machine: dict[str, str | None], asked: str) -> None:
    assert choose(asked, EQUAL, namespaces=True) == Shaping(asked, "asked for by name")
    with pytest.raises(ShapingError, match="add --launcher namespaces, or use --shaping paced"):
        choose(asked, EQUAL, namespaces=False)
    machine[asked] = "the kernel does not want to; ask it nicely"
    with pytest.raises(ShapingError, match=f"'{asked}' is not possible .* ask it nicely"):
        choose(asked, EQUAL, namespaces=True)


def test_netem_by_name_for_what_it_cannot_do_is_an_error(
    machine: dict[str, str | None],
) -> None:
    with pytest.raises(ShapingError, match=r"unequal rates .* use --shaping relay"):
        choose("netem", UNEQUAL, namespaces=True)


def test_an_unknown_name_is_answered_with_the_choices() -> None:
    with pytest.raises(ShapingError, match="the choices are auto, netem, relay, paced, none"):
        choose("magic", EQUAL, namespaces=True)


def test_without_the_right_to_it_the_capability_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "capabilities", lambda: 0)
    assert "lacks CAP_NET_ADMIN; run it as root (in a container: --cap-add NET_ADMIN)" in str(
        available("relay")
    )
    monkeypatch.setattr(choice, "capabilities", lambda: 1 << 12)
    assert "lacks CAP_SYS_ADMIN" in str(available("netem"))


def test_elsewhere_than_linux_the_remedy_is_pacing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.sys, "platform", "darwin")
    assert "use --launcher local --shaping paced" in str(available("none"))


@needs("root", "network namespaces")
def test_without_the_module_the_remedy_is_to_load_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgenet.shaping.netem.missing", lambda: "sch_netem")
    assert available("netem") == (
        "the kernel has no sch_netem; load it with `modprobe sch_netem`, or use --shaping relay"
    )


@needs("root", "network namespaces", "TUN")
def test_where_tests_may_make_namespaces_the_relay_works() -> None:
    assert available("relay") is None
    assert available("none") is None


def test_where_nothing_is_shaped_events_cannot_happen() -> None:
    text = HEAD + "links: {w: {rate: 1 Mbit, between: [base, member0]}}\nevents:\n"
    topology = loads(text + "  - {at: 1 s, cut: w}\n", "t.yaml")
    with pytest.raises(ShapingError, match=r"event 1 of t.yaml \(w is cut\) cannot happen; use"):
        choose("none", topology, namespaces=False)
    assert choose("paced", topology, namespaces=False).used == "paced"


@pytest.mark.parametrize(
    ("lte", "event"),
    [
        ("fading: 100 ms", "{at: 1 s, restore: cell}"),
        ("exponent: 4", "{at: 9 s, move: a, to: [900, 0]}"),
    ],
)
def test_netem_is_not_taken_for_rates_that_come_apart_during_the_run(
    machine: dict[str, str | None], lte: str, event: str
) -> None:
    nodes = "base: {at: [0, 0]}, a: {at: [90, 0]}, b: {at: [0, 90]}"
    topology = loads(
        HEAD.replace("base: {}, member: {count: 2}", nodes)
        + f"links: {{cell: {{lte: {{{lte}}}, base: base, members: [a, b]}}}}\nevents: [{event}]"
    )
    assert choose("auto", topology, namespaces=True).used == "relay"
    with pytest.raises(ShapingError, match="netem cannot share 'cell"):
        choose("netem", topology, namespaces=True)
