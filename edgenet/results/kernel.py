"""The bytes that links counted against those that the kernel counted at its interfaces.

A link counts what it hands to the transport; the kernel counts IP packets (on veth pairs Ethernet
frames), with all that travels besides: TCP/IP headers, acknowledgements, what was sent again,
gloo's own 48 bytes a frame, heartbeats. The difference is a figure of its own. A byte that is
forwarded, by the base of a cell or by a node between, leaves by several interfaces, and is
counted at each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgenet.results.ledger import Flow, Volume

Sums = dict[str, int]
_ZERO = {"kernel": 0, "counted": 0, "packets": 0}


def reconciled(
    run: Mapping[str, Any], flows: Iterable[tuple[Flow, int, Volume]]
) -> dict[str, Any] | None:
    """What summary.json says under `bytes.kernel`; None where the kernel was not asked.

    Args:
        run: run.json: `interfaces`, what each node's interface to each link has sent since the
            packets' part of the probe, and `ways`, the interfaces by which each flow leaves.
        flows: everything that the links counted, probe and evaluation included.
    """
    interfaces, ways = run.get("interfaces"), run.get("ways")
    if not isinstance(interfaces, Mapping) or not isinstance(ways, Mapping):
        return None
    found = {(node, link): sums for node, link, sums in _sent(interfaces)}
    for flow, _, volume in flows:
        for node, link in ways.get(f"{flow.sender}->{flow.receiver}", ()):
            if (node, link) in found:
                found[node, link]["counted"] += volume.total
    links: dict[str, Sums] = {}
    for (_, link), sums in found.items():
        _add(links.setdefault(link, dict(_ZERO)), sums)
    whole = dict(_ZERO)
    for sums in found.values():
        _add(whole, sums)
    named = {f"{node}: {link}": _with_headers(sums) for (node, link), sums in found.items()}
    return {
        **_with_headers(whole),
        "per_link": {link: _with_headers(links[link]) for link in sorted(links)},
        "per_interface": {name: named[name] for name in sorted(named)},
    }


def _sent(interfaces: Mapping[str, Any]) -> Iterator[tuple[str, str, Sums]]:
    for node, links in interfaces.items():
        for link, counters in links.items():
            sums = {"kernel": counters["tx_bytes"], "packets": counters["tx_packets"]}
            yield node, link, _ZERO | sums


def _add(sums: Sums, more: Sums) -> None:
    for key in sums:
        sums[key] += more[key]


def _with_headers(sums: Sums) -> Sums:
    return sums | {"headers": sums["kernel"] - sums["counted"]}
