"""Every way of distributing the training of one topology, predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from edgenet.errors import TopologyError
from edgenet.node.costing import Costs
from edgenet.node.plan import resolve
from edgenet.node.planner import Forecast, Planner
from edgenet.node.predict_chain import dealt_out
from edgenet.node.predict_sources import junctions, vertical
from edgenet.node.predict_split import split
from edgenet.node.predict_whole import federated, generalised, images
from edgenet.topology.spec import Topology

Predict = Callable[[Planner], Iterator[Forecast]]

_ANY_CUT, _NO_SPREAD = "train.cut=1", "train.spread=null"

PREDICTED: Mapping[str, tuple[Predict, tuple[str, ...]]] = {
    "fedavg": (federated, ()),
    "gfl": (generalised, ("train.averaged=null",)),
    "psl": (split, (_ANY_CUT,)),
    "sfl": (split, (_ANY_CUT,)),
    "ssl": (split, (_ANY_CUT,)),
    "slr": (split, (_ANY_CUT,)),
    "sgl": (split, (_ANY_CUT,)),
    "sglr": (split, (_ANY_CUT,)),
    "fpl": (junctions, ("train.junction=null", _NO_SPREAD)),
    "sl-vertical": (vertical, ("train.cut=null", _NO_SPREAD)),
    "transfer-images": (images, ()),
    "d-sgd": (dealt_out, (_NO_SPREAD,)),
}
"""Scheme -> what predicts its candidates, and what to set so that its topology can be resolved."""


def predict(
    load: Callable[[Sequence[str]], Topology],
    costs: Costs,
    schemes: Sequence[str] = tuple(PREDICTED),
    *,
    shared: bool = False,
) -> tuple[list[Forecast], dict[str, str]]:
    """All candidates of the schemes, the quickest first; and {scheme: why it cannot be run here}.

    Args:
        load: makes the topology, changed by so many `--set`s.
        costs: what is measured on this host.
        schemes: names in `PREDICTED`.
        shared: members of a shared medium share its rate.

    Raises:
        TopologyError: none of the schemes can be run; what is wrong with the first.
    """
    found: list[Forecast] = []
    failed: dict[str, TopologyError] = {}
    for scheme in schemes:
        make, settings = PREDICTED[scheme]
        try:
            plan = resolve(load((f"train.scheme={scheme}", *settings)))
            found += make(Planner(plan, costs, shared=shared))
        except TopologyError as error:
            failed[scheme] = error
    if not found:
        raise next(iter(failed.values()))
    return sorted(found, key=lambda each: each.round_s), {k: str(e) for k, e in failed.items()}
