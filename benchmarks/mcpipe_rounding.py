"""How far rounding carries: a cell of the mcPipe benchmark, step by step, in float32 and float64.

`mcpipe` adds up the numbers that `pipedream` adds up, in another order. Whether accuracies that
differ afterwards come from that alone is seen in two ways. In float64 the first differences are
2^29 times smaller; if they are rounding, no more than that comes of them. And `pipedream` itself
must part from `pipedream` in the same way, when it computes in another precision, or when one
weight begins as the next number that can be written.

The tables go to results/mcpipe/rounding.md. `--quick`: one epoch; `--full`: the four of the
benchmark, which takes about 5 minutes of one core.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from common import arguments, say
from mcpipe import size_of
from mcpipe_cells import topology
from mcpipe_report import markdown
from torch import Tensor

from edgenet.data import ShareBatches, evaluate
from edgenet.meters import Journal
from edgenet.models.motion import Motion
from edgenet.models.stage import cross_entropy
from edgenet.models.versioned import VersionedStage
from edgenet.node.plan import Plan, resolve
from edgenet.node.substance import dataset_of, model_of, shares_of
from edgenet.schemes.timetable import BACKWARD, FORWARD, Action, timetable
from edgenet.topology import loads

RESULT = Path(__file__).parent / "results" / "mcpipe" / "rounding.md"
WITHIN = (1, 2, 4, 8, 16, 24)
"""Mini-batches of the first epoch after which weights are compared, too."""
SINGLE, DOUBLE = torch.float32, torch.float64


class Kind(NamedTuple):
    """What is trained."""

    scheme: str
    precision: torch.dtype
    """Of weights, data and everything else; all start from the same float32 numbers."""
    moved: torch.dtype | None = None
    """One weight begins as the next number that can be written in this precision."""


AGAINST = {
    Kind("pipedream", SINGLE): {
        "pipedream in float64": Kind("pipedream", DOUBLE),
        "pipedream, one weight one rounding off": Kind("pipedream", SINGLE, SINGLE),
        "mcpipe": Kind("mcpipe", SINGLE),
        "mcpipe-adaptive": Kind("mcpipe-adaptive", SINGLE),
    },
    Kind("pipedream", DOUBLE): {
        "pipedream, one weight a float32's rounding off": Kind("pipedream", DOUBLE, SINGLE),
        "pipedream, one weight one rounding off": Kind("pipedream", DOUBLE, DOUBLE),
        "mcpipe": Kind("mcpipe", DOUBLE),
        "mcpipe-adaptive": Kind("mcpipe-adaptive", DOUBLE),
    },
}
"""What is held against what."""
KINDS = tuple(dict.fromkeys(k for one, to in AGAINST.items() for k in (one, *to.values())))


class Training:
    """One scheme's pipeline in one process and one thread.

    Args:
        plan: of the scheme.
        kind: the rest.
    """

    def __init__(self, plan: Plan, kind: Kind) -> None:
        self.plan, self.precision, moved = plan, kind.precision, kind.moved
        self.dataset = dataset_of(plan.topology)
        self.model = model_of(plan.topology, self.dataset).to(self.precision)
        if moved is not None:
            first = next(self.model.parameters()).data.view(-1)
            first[0] = torch.nextafter(first[0].to(moved), torch.ones((), dtype=moved))
        train = plan.topology.train
        layout, motion = plan.layout, Motion.of(train.optimizer, train.lr)
        self.stages = [
            VersionedStage(
                layout.layers(self.model, n), motion, choices, journal=Journal(),
                needs_input_error=n > 0,
            )
            for n, choices in enumerate(layout.choices)
        ]  # fmt: skip
        (share,) = shares_of(plan.topology, self.dataset, 1)
        self.batches = ShareBatches(self.dataset, share, train.batch, plan.topology.seed, 0)

    def go_on(self, count: int) -> None:
        """Through the first `count` mini-batches of the next epoch, until the pipeline is empty."""
        layout = self.plan.layout
        rows = timetable(layout.scheme, layout.table.windows, (1,) * count).stages
        batches = [(x.to(self.precision), y) for x, y in self.batches][:count]
        play(self.stages, rows, batches)

    def weights(self) -> Tensor:
        """All of them, in a row."""
        parts = [p.detach().reshape(-1) for p in self.model.parameters()]
        return torch.cat(parts).double()

    def accuracy(self) -> float:
        """On the test set."""
        model = self.model.eval()
        try:
            with torch.no_grad():
                return evaluate(lambda x: model(x.to(self.precision)), self.dataset).accuracy
        finally:
            model.train()


def play(
    stages: Sequence[VersionedStage],
    rows: Sequence[Sequence[Action]],
    batches: Sequence[tuple[Tensor, Tensor]],
) -> None:
    """Every stage's row of a timetable, in an order that its messages allow."""
    left = [deque(row) for row in rows]
    labels = deque(y for _, y in batches)
    down: list[deque[Tensor]] = [deque(x for x, _ in batches), *(deque() for _ in stages)]
    up: list[deque[Tensor]] = [deque() for _ in (*stages, None)]
    done = [stage.newest for stage in stages]
    while any(left):
        for n, stage in enumerate(stages):
            while left[n] and (left[n][0].verb not in (FORWARD, BACKWARD) or
                               (down[n] if left[n][0].verb == FORWARD else up[n + 1])):  # fmt: skip
                action = left[n].popleft()
                if action.verb == FORWARD:
                    stage.use(done[n] + action.version)
                    down[n + 1].append(stage.forward(down[n].popleft()))
                elif action.verb == BACKWARD:
                    up[n].append(stage.backward(up[n + 1].popleft()))
                else:
                    stage.step()
        while down[-1]:
            up[-1].append(cross_entropy(down[-1].popleft(), labels.popleft())[1])


Runs = Mapping[Kind, Training]
Table = dict[int, list[str]]
"""Mini-batches -> a cell for each column."""


def started(plans: Mapping[str, Plan]) -> Runs:
    """Every kind of training, about to begin."""
    return {kind: Training(plans[kind.scheme], kind) for kind in KINDS}


def distances(runs: Runs, one: Kind) -> list[str]:
    """How far the trainings that are held against `one` are from it, in parts of its weights."""
    own = runs[one].weights()
    apart = [(runs[other].weights() - own).norm() / own.norm() for other in AGAINST[one].values()]
    return [f"{float(each):.1e}" for each in apart]


def measured(plans: Mapping[str, Plan], epochs: int) -> tuple[dict[Kind, Table], Table]:
    """(distances for each that others are held against, accuracies of all)."""
    apart: dict[Kind, Table] = {one: {} for one in AGAINST}
    right: Table = {}
    begun = ((count, started(plans), count) for count in WITHIN)
    runs = started(plans)
    epoch = len(next(iter(runs.values())).batches)
    for done, each, count in (*begun, *((n * epoch, runs, epoch) for n in range(1, epochs + 1))):
        for run in each.values():
            run.go_on(count)
        for one in AGAINST:
            apart[one][done] = distances(each, one)
        if each is runs:
            right[done] = [f"{run.accuracy():.3f}" for run in runs.values()]
    return apart, right


def written(head: Sequence[str], rows: Table) -> str:
    """As Markdown."""
    return markdown(("mini-batches", *head), [(str(n), *cells) for n, cells in rows.items()])


def told(kind: Kind) -> str:
    """A kind in words."""
    label = f"{kind.scheme}, {str(kind.precision).removeprefix('torch.')}"
    return label + ("" if kind.moved is None else f", moved by {kind.moved}".replace("torch.", ""))


def main() -> None:
    """Train all of them, and write the tables."""
    options = arguments(__doc__)
    start, size = time.monotonic(), size_of(full=False)
    torch.set_num_threads(1)
    plans = {
        kind.scheme: resolve(loads(topology(size, size.settings[0], kind.scheme, "Ethernet"),
                                   file="mcpipe.yaml"))
        for kind in KINDS
    }  # fmt: skip
    apart, right = measured(plans, size.epochs if options.full else 1)
    words = ["# How far rounding carries", "", (__doc__ or "").split("\n\n")[1], ""]
    for one, rows in apart.items():
        words += [f"Distance of the weights from those of {told(one)}:", ""]
        words += [written(tuple(AGAINST[one]), rows), ""]
    words += ["Accuracy:", "", written([told(kind) for kind in KINDS], right), ""]
    RESULT.write_text("\n".join(words), encoding="utf-8")
    last = {one: list(rows.items())[-1] for one, rows in apart.items()}
    figures = {
        f"{told(one)}: {label}, {done} mini-batches": cell
        for one, (done, cells) in last.items()
        for label, cell in zip(AGAINST[one], cells, strict=True)
    }
    say({**figures, "wall_s": time.monotonic() - start, "report": str(RESULT)}, options.format)


if __name__ == "__main__":
    main()
