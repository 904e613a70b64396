"""Every way of distributing the training of one topology, predicted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenet.errors import InputError
from edgenet.node.costing import Costs
from edgenet.node.options import scheme_options, without_foreign
from edgenet.node.plan import resolve
from edgenet.node.planner import Forecast, Planner
from edgenet.node.predict_chain import dealt_out
from edgenet.node.predict_sources import junctions, vertical
from edgenet.node.predict_split import split
from edgenet.node.predict_whole import federated, generalised, images
from edgenet.schemes import SCHEMES
from edgenet.schemes.chain import NOWHERE
from edgenet.topology.spec import Topology

Load = Callable[[Sequence[str]], Topology]
"""Makes the topology, changed by so many `--set`s."""
Predict = Callable[[Planner], Iterator[Forecast]]

_ANY_CUT, _NO_CUT, _NO_SPREAD = "train.cut=1", "train.cut=null", "train.spread=null"
_ANY_JUNCTION = ("train.junction=null", "train.merge=null", _NO_SPREAD)

PREDICTED: Mapping[str, tuple[Predict, tuple[str, ...]]] = {
    "fedavg": (federated, ()),
    "gfl": (generalised, ()),
    "psl": (split, (_ANY_CUT,)),
    "sfl": (split, (_ANY_CUT,)),
    "ssl": (split, (_ANY_CUT,)),
    "slr": (split, (_ANY_CUT,)),
    "sgl": (split, (_ANY_CUT,)),
    "sglr": (split, (_ANY_CUT,)),
    "fpl": (junctions, _ANY_JUNCTION),
    "sl-vertical": (vertical, (_NO_CUT, _NO_SPREAD)),
    "transfer-images": (images, ()),
    "d-sgd": (dealt_out, (_NO_SPREAD,)),
}
"""Scheme -> what predicts its candidates, and what to set so that its topology can be resolved,
whatever the user has set: candidates differ in just that, and a junction may need more memory than
there is here."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What was predicted for a topology."""

    found: Sequence[Forecast]
    """All candidates: first those that fit their devices' memory; the quickest first."""
    left_out: Mapping[str, str]
    """Scheme that cannot be run here -> why."""
    notes: Sequence[str]
    """What the user has set and the predictions do not heed, as sentences."""

    @property
    def fitting(self) -> list[Forecast]:
        """The candidates that fit."""
        return [each for each in self.found if not each.lacks_bytes]

    @property
    def nearest(self) -> Forecast:
        """The candidate that fits, or of which the node that lacks most lacks least; the quickest
        of these."""
        return min(self.found, key=lambda each: max(each.lacks_bytes.values(), default=0))


def predict(
    load: Load, costs: Costs, schemes: Sequence[str] = tuple(PREDICTED), *, shared: bool = False
) -> Outlook:
    """All candidates of the schemes.

    Args:
        load: makes the topology.
        costs: what is measured on this host.
        schemes: names in `PREDICTED`.
        shared: members of a shared medium share its rate.

    Raises:
        InputError: none of the schemes can be run; what is wrong with the first.
    """
    found: list[Forecast] = []
    failed: dict[str, InputError] = {}
    notes = list(_unheeded(load(()), schemes))
    for scheme in schemes:
        make, resets = PREDICTED[scheme]
        try:
            asked, own, plan = _resolved(load, scheme, schemes, resets)
            planner = Planner(plan, costs, own, shared=shared)
            candidates = list(make(planner))
        except InputError as error:
            failed[scheme] = error
            continue
        found += candidates
        wanted = set(_wanted(planner, asked, own))
        if not any(wanted <= set(each.settings) for each in candidates):
            notes.append(f"{scheme}: {', '.join(sorted(wanted))}, as set, is no candidate.")
    if not found:
        raise next(iter(failed.values()))
    return Outlook(
        found=sorted(found, key=lambda each: (bool(each.lacks_bytes), each.round_s)),
        left_out={scheme: str(error) for scheme, error in failed.items()},
        notes=notes,
    )


def changes(overrides: Iterable[str], forecast: Forecast) -> tuple[str, ...]:
    """All that is to be `--set` to run a candidate that was found with these `overrides`: without
    those that it replaces, and those that are other schemes' own."""
    _, _, scheme = forecast.settings[0].partition("=")
    replaced = {_path(setting) for setting in forecast.settings}
    replaced |= {("train", key) for key in _foreign(scheme, SCHEMES)}
    kept = [each for each in overrides if _path(each)[:2] not in replaced]
    return (*kept, *forecast.settings)


def _resolved(
    load: Load, scheme: str, others: Iterable[str], resets: Sequence[str]
) -> tuple[Topology, Any, Any]:
    """The topology under a scheme, the scheme's own options, both as the user has set them; and the
    plan after `resets`. What is an option of `others` only is dropped."""
    chosen = (f"train.scheme={scheme}", *(f"train.{k}=null" for k in _foreign(scheme, others)))
    asked = without_foreign(load(chosen), SCHEMES[scheme])
    own = scheme_options(asked, SCHEMES[scheme])
    return asked, own, resolve(load((*chosen, *resets)))


def _foreign(scheme: str, others: Iterable[str]) -> list[str]:
    """The options of `others` that are none of `scheme`'s."""
    return sorted({key for other in others for key in _options(other)} - _options(scheme))


def _options(scheme: str) -> set[str]:
    options = SCHEMES[scheme].options
    return {field.name for field in dataclasses.fields(options)} if options else set()


def _wanted(planner: Planner, asked: Topology, own: Any) -> Iterator[str]:
    """What the user has set of that in which candidates differ, as they set it."""
    cut, names = asked.train.cut, [row.name for row in planner.rows]
    if cut is not None and _differs(planner, "cut"):
        at = cut - 1 if isinstance(cut, int) else -1
        yield f"train.cut={names[at] if 0 <= at < len(names) else cut}"
    if getattr(own, "junction", ""):
        yield f"train.junction={own.junction}"
    spread = getattr(own, "spread", ())
    if spread and (spread != (NOWHERE,) or planner.cast("stage")):
        yield f"train.spread={'/'.join(spread)}"


def _differs(planner: Planner, key: str) -> bool:
    _, resets = PREDICTED[planner.train.scheme]
    return any(_path(reset) == ("train", key) for reset in resets)


def _unheeded(topology: Topology, schemes: Sequence[str]) -> Iterator[str]:
    """What is set and does not count, or not everywhere."""
    set_here = {_path(f"{path}=")[:2] for path in topology.settings}
    for key in sorted({key for scheme in schemes for key in _options(scheme)}):
        under = [scheme for scheme in schemes if key in _options(scheme)]
        if ("train", key) in set_here and len(under) < len(schemes):
            yield f"train.{key} counts under {', '.join(under)} only."
    what = ["events"] if topology.events else []
    what += ["faults.deadline"] if topology.faults.deadline_s is not None else []
    if what:
        yield f"Not in the prediction: {', '.join(what)}."


def _path(setting: str) -> tuple[str, ...]:
    """'train.cut=1' -> ('train', 'cut')."""
    return tuple(key.strip() for key in setting.partition("=")[0].split("."))
