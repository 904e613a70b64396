"""Who came later, left, and was started again while a run went on."""

from __future__ import annotations

from typing import Any

from edgenet.errors import UNWRITABLE
from edgenet.results.events import Event
from edgenet.results.tally import NodeTally, Tally

LOST = "lost"
"""Status of a node that ended without saying so: killed, crashed, or its host went away."""
LEFT = "left"
"""... of one that ended because the topology said so."""
ABSENT = "absent"
"""... of one that was to come later, and never did."""
SPEECHLESS = "cannot write into its folder any more; make room on its disk"
"""What became of a node that had no place left to write down why it ends."""


def status(node: NodeTally, tally: Tally, *, later: bool, code: int | None = None) -> str:
    """How a node ended.

    Args:
        node: which.
        tally: of the whole run.
        later: whether it was not to be there from the start.
        code: that its process ended with; None if it is not known, or a signal ended it.
    """
    if later and node.start_s is None:
        return ABSENT
    told = [event for event in tally.changes if event.text("target") == node.name]
    comings = [event for event in told if event.text("what") in ("start", "stop", "kill")]
    # Once it has ended, as the launcher did, a run that is resumed may say that it had left.
    obeyed = node.status == "interrupted" or (comings and comings[-1].t > node.last_s)
    if obeyed and comings and comings[-1].text("what") == "stop":
        return LEFT
    return node.status or ("failed" if code == UNWRITABLE else LOST)


def restarts(tally: Tally) -> list[dict[str, Any]]:
    """Every time that a node, or with it all of them, was started again: what had become of it,
    after how many seconds it had its links again (None: never), and, where all were, after which
    round they went on and how much time that has cost."""
    found = []
    for event in tally.restarts:
        name = event.text("node")
        joined = tally.nodes[name].joined if name in tally.nodes else []
        back = next((t for t in joined if t > event.t), None)
        found.append(
            {
                "t_s": round(tally.since(event.t), 6),
                "node": name,
                "number": event.count("number"),
                "of": event.count("of"),
                "why": event.text("why"),
                "back_s": None if back is None else round(back - event.t, 6),
                **_lost(event, back),
            }
        )
    return found


def _lost(event: Event, back: float | None) -> dict[str, Any]:
    """Of a restart of all: what was thrown away, the time until they were back, and which spare
    has taken whose place."""
    if "after" not in event.fields:
        return {}
    thrown_s = event.number("thrown_s") or 0.0
    lost_s = None if back is None else round(thrown_s + back - event.t, 6)
    spare = {key: event.text(key) for key in ("place", "spare") if key in event.fields}
    return {"after": event.count("after"), "thrown_s": thrown_s, "lost_s": lost_s, **spare}
