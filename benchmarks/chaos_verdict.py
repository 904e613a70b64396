"""Whether a run of chaos ended as the policy (docs/faults.md) says: decided from what it showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from chaos_plan import Case, Cast, Fault
from chaos_run import Seen
from torch import Tensor

from edgenet.errors import DONE, NODE_FAILED

SAME, COMPLETE, NAMED = "same weights", "complete, loss recorded", "named cause"
HUNG, WRONG = "hung", "wrong"

_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Verdict:
    """Of one run."""

    outcome: str
    why: str = ""
    """What is wrong."""
    cause: str = ""
    """The sentence that a failed run ended with."""


def judge(case: Case, cast: Cast, seen: Seen, undisturbed: Mapping[str, Tensor] | None) -> Verdict:
    """How the run ended, and whether it might.

    Args:
        case: what was done to it.
        cast: who played.
        seen: what it showed.
        undisturbed: the weights without faults; None where they depend on measured times.
    """
    if seen.code is None:
        return Verdict(HUNG, f"it was still there after {seen.wall_s:.0f} s")
    if "Traceback" in seen.said:
        return Verdict(WRONG, "a traceback instead of a sentence")
    hard = [fault for fault in seen.placed if fault.hard and cast.peers[fault.node] | _dies(fault)]
    if seen.code == NODE_FAILED:
        return _failed(case, cast, seen, hard)
    if seen.code != DONE:
        return Verdict(WRONG, f"exit code {seen.code}")
    return _done(case, cast, seen, hard, undisturbed)


def _dies(fault: Fault) -> frozenset[str]:
    """A node without peers is not missed by anybody while it is frozen."""
    return frozenset({fault.node} if fault.kind == "kill" else ())


def _failed(case: Case, cast: Cast, seen: Seen, hard: list[Fault]) -> Verdict:
    last = (seen.said.strip().splitlines() or [""])[-1]
    if not hard:
        return Verdict(WRONG, f"it failed without need: {last}")
    essential = [fault for fault in hard if fault.node in cast.essential]
    lost = {fault.node for fault in hard} - cast.essential
    if case.restart and len(hard) <= case.restart:
        return Verdict(WRONG, f"it was not started again: {last}")
    if not essential and len(lost) < 2:  # the quorum of three is two
        return Verdict(WRONG, f"it could have gone on: {last}")
    hit = {fault.node for fault in hard}
    if not any(name in last for name in hit.union(*(cast.peers[name] for name in hit))):
        return Verdict(WRONG, f"its last words name nobody who was hit: {last!r}")
    return Verdict(NAMED, cause=last)


def _done(
    case: Case,
    cast: Cast,
    seen: Seen,
    hard: list[Fault],
    undisturbed: Mapping[str, Tensor] | None,
) -> Verdict:
    lost = {fault.node for fault in hard} - cast.essential
    faults = seen.summary.get("faults", ())
    told = {fault["peer"] for fault in faults}
    if seen.weights is None:
        return Verdict(WRONG, "exit code 0 and no model.pt")
    if undisturbed is not None and same(seen.weights, undisturbed):
        return Verdict(SAME)
    if not all(bool(torch.isfinite(value).all()) for value in seen.weights.values()):
        return Verdict(WRONG, "weights that are no numbers")
    if lost and lost & told:
        return Verdict(COMPLETE)
    if lost:
        return Verdict(WRONG, f"{', '.join(sorted(lost))} lost, but not in the summary's faults")
    gone = {fault["peer"] for fault in faults if fault["what"] != "late"}
    if undisturbed is None and not gone - cast.essential:
        # As far as times let it be the same; who misses the deadline is late, not lost.
        return Verdict(SAME)
    off = "" if undisturbed is None else f", {_distance(seen.weights, undisturbed):.2g} apart"
    return Verdict(WRONG, f"other weights than undisturbed{off}; faults told of: {sorted(told)}")


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether all weights agree."""
    return a.keys() == b.keys() and all(
        torch.allclose(a[name], b[name], rtol=0.0, atol=_TOLERANCE) for name in a
    )


def _distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    if a.keys() != b.keys():
        return float("inf")
    return max((float((a[name] - b[name]).abs().max()) for name in a), default=0.0)
