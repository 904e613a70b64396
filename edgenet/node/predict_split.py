"""Predictions for split learning, cut behind every layer but the last.

`slr` costs what `psl` does: a learning rate has no price. SplitAvg (`sgl`, `sglr`) moves as many
bytes over sockets, which send the gradient that clients share to each of them; on the air it counts
once a medium. Who is active is drawn as the run draws it, in every step of every round, so that
figure is exact; the server's time for the mean is that of a mean round.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from edgenet.links.protocol import Kind
from edgenet.models.timing import StageCost
from edgenet.node import footprint
from edgenet.node.costing import message_bytes
from edgenet.node.forecast import Chain, Sync, Worker, star_s
from edgenet.node.planner import Forecast, Planner, Sketch
from edgenet.schemes.averaging import common_gradient, draw_active, in_phase
from edgenet.schemes.split import compact


def split(planner: Planner) -> Iterator[Forecast]:
    """Every cut of the planner's scheme."""
    average, more = _Average(planner), _more(planner)
    for number, row in enumerate(planner.rows[:-1], start=1):
        sketch = planner.begin(f"cut {row.name}{more}", f"train.cut={row.name}")
        _Cut(planner, sketch, number, average).fill()
        yield planner.finish(sketch)


def _more(planner: Planner) -> str:
    """For a candidate's name: what is set of the scheme's own and changes who sends what when."""
    usual = {"sync": "epoch", "phases": "always"}
    found = {key: getattr(planner.options, key, usual[key]) for key in usual}
    return "".join(f", {key} {value}" for key, value in found.items() if value != usual[key])


class _Average:
    """SplitAvg's part of a round, at whatever cut; nothing under the other schemes."""

    def __init__(self, planner: Planner) -> None:
        self._planner, train, options = planner, planner.train, planner.options
        self._phi: float = getattr(options, "phi", 0.0)
        phases, numbers = getattr(options, "phases", "always"), range(1, train.rounds + 1)
        self._rounds = [n for n in numbers if self._phi > 0 and in_phase(phases, n, train.rounds)]
        self.copies = self._copies()
        """Samples in a shared gradient -> how many copies of such a gradient broadcasts save in a
        round, the mean over the rounds."""

    def host_s(self, rows: int, width: int, clients: int) -> float:
        """Host seconds of the mean in a step with so many clients that have `rows` samples each;
        the mean over the rounds, as it is made in those of its phase only."""
        active = len(draw_active(dict.fromkeys(map(str, range(clients)), rows), self._phi, 0, 1, 0))
        if not active or not self._rounds:
            return 0.0
        gradients = {str(i): torch.zeros(rows, width) for i in range(active)}
        key = ("common", active, rows, width)
        each_s = self._planner.costs.call(key, lambda: common_gradient(gradients))
        return each_s * len(self._rounds) / self._planner.train.rounds

    def _copies(self) -> dict[int, float]:
        planner, found = self._planner, Counter[int]()
        (server,), clients = planner.cast("server"), planner.cast("client")
        if not planner.copies(server, clients):
            return {}
        steps = self._steps(clients)
        for number, (step, sizes) in itertools.product(self._rounds, enumerate(steps)):
            active = draw_active(sizes, self._phi, planner.seed, number, step)
            if active:
                found[sizes[active[0]]] += planner.copies(server, active)
        return {rows: count / planner.train.rounds for rows, count in found.items()}

    def _steps(self, clients: Sequence[str]) -> list[dict[str, int]]:
        """{client: samples} of every step of a round: each goes through its own batches."""
        batch, passes = self._planner.train.batch, []
        for name in clients:
            full, rest = divmod(self._planner.samples[name], batch)
            own = [batch] * full + [rest] * bool(rest)
            passes.append(own * self._planner.train.local_epochs)
        return [
            {name: rows for name, rows in zip(clients, sizes, strict=True) if rows}
            for sizes in itertools.zip_longest(*passes, fillvalue=0)
        ]


class _Cut:
    """One candidate: the clients hold the first `number` layers."""

    def __init__(self, planner: Planner, sketch: Sketch, number: int, average: _Average) -> None:
        self._planner, self._sketch, self._number = planner, sketch, number
        self._average = average
        (self._server,), self._clients = planner.cast("server"), planner.cast("client")
        self._batch = planner.train.batch
        self._head = planner.cost(0, number, self._batch)
        self._state = list(planner.part(0, number).state_dict().values())
        common = planner.train.scheme in ("ssl", "sfl")
        self._opening = message_bytes([1, self._state if common else []], Kind.WEIGHTS)
        self._closing = message_bytes([self._state], Kind.WEIGHTS) if common else 0
        self._every_step = getattr(planner.options, "sync", "epoch") == "batch"

    def fill(self) -> None:
        """Work out the round; under ssl one client after the other."""
        in_turn = self._planner.train.scheme == "ssl"
        for names in [(name,) for name in self._clients] if in_turn else [self._clients]:
            self._take_turn(names)
        for rows, copies in self._average.copies.items():
            nbytes = message_bytes([self._smashed(rows)], Kind.GRADIENT)
            self._sketch.copied += copies * nbytes

    def _take_turn(self, names: Sequence[str]) -> None:
        """Full batches and the last, smaller ones are predicted apart: a step with fewer clients
        or samples is shorter. What opens and closes a round comes with the last of them."""
        samples, batch = self._planner.samples, self._batch
        full = {name: samples[name] // batch for name in names}
        rest = {name: samples[name] % batch for name in names}
        kinds = list(steps_of(full, rest, batch))
        for at, (sizes, times) in enumerate(kinds):
            further = {name for later, _ in kinds[at + 1 :] for name in later}
            self._make_steps(sizes, times, further, framed=at == len(kinds) - 1)
        for name in names:
            self._hold(name)
            self._sketch.sent[name, self._server] += self._closing
        self._planner.tell(self._sketch, self._server, names, self._opening)

    def _make_steps(
        self, sizes: Mapping[str, int], times: int, further: Collection[str], *, framed: bool
    ) -> None:
        """So many steps of a pass; `further`: the clients that have others after them."""
        times *= self._planner.train.local_epochs
        sketch, planner = self._sketch, self._planner
        workers = {name: self._worker(name, size, framed) for name, size in sizes.items()}
        rows = sum(sizes.values())
        cost = planner.cost(self._number, None, rows)
        sync = self._sync([times if name in further else times - 1 for name in sizes])
        sketch.round_s += star_s(list(workers.values()), self._tail(cost, sizes), times, sync)
        sketch.busy_s[self._server] += times * planner.on(self._server, cost.train_s)
        self._hold_server(cost, rows)
        for name, worker in workers.items():
            sketch.busy_s[name] += times * (worker.before_s + worker.after_s)
            sketch.sent[name, self._server] += times * worker.up_bytes
            sketch.sent[self._server, name] += times * worker.down_bytes
        if sync is not None:
            self._send_heads(dict(zip(sizes, sync.steps, strict=True)))

    def _sync(self, steps: Sequence[int]) -> Sync | None:
        """Heads averaged between steps: after how many each client's, but its last of a round."""
        if not self._every_step:
            return None
        costs = self._planner.costs
        return Sync(
            steps=steps,
            nbytes=self._closing,
            copy_s=costs.copy(self._state),
            mean_s=costs.mean(self._state, len(steps)),
        )

    def _send_heads(self, steps: Mapping[str, int]) -> None:
        """{client: how many of its steps end so}: the mean is one message to all of a step."""
        for name, times in steps.items():
            self._sketch.sent[name, self._server] += times * self._closing
            self._sketch.sent[self._server, name] += times * self._closing
        for number in range(max(steps.values())):
            to = [name for name, times in steps.items() if number < times]
            self._sketch.copied += self._planner.copies(self._server, to) * self._closing

    def _hold(self, client: str) -> None:
        """A head that comes from the server, or goes there, is in a message as well."""
        weights, smashed = self._head.weight_bytes, self._smashed(self._batch).nbytes
        held = footprint.stage(
            self._head,
            model=self._planner.model_bytes,
            beside=self._other(self._head) + (weights if self._closing else 0),
            messages=2 * smashed + (weights if self._every_step else 0),
            reported=weights,
        )
        self._sketch.hold(client, held)

    def _other(self, cost: StageCost) -> int:
        """Every node makes the whole model; what another holds is freed, but stays resident."""
        return self._planner.model_bytes - cost.weight_bytes

    def _hold_server(self, cost: StageCost, rows: int) -> None:
        """Of a step's activations and errors there is what came, what is joined, and what goes; of
        the clients' heads, in the end, what came, their mean, and a copy to be written."""
        heads, head = len(self._clients), self._head.weight_bytes
        common, often = bool(self._closing), self._every_step
        held = footprint.stage(
            cost,
            model=self._planner.model_bytes,
            beside=self._other(cost) + (2 * head if common else 0),
            messages=4 * self._smashed(rows).nbytes + ((heads + 1) * head if often else 0),
            saved=head if common else 0,
            reported=(1 + (1 if common else 2) * heads) * head + self._planner.tested_bytes,
        )
        self._sketch.hold(self._server, held)

    def _tail(self, cost: StageCost, sizes: Mapping[str, int]) -> Chain:
        """The server's part of a step: uploads side by side, each client's own loss."""
        planner = self._planner
        width = self._smashed(1).numel()
        host_s = planner.costs.joined(max(sizes.values()), [width] * len(sizes))
        host_s += sum(planner.loss_s(size) for size in sizes.values())
        host_s += self._average.host_s(max(sizes.values()), width, len(sizes))
        return Chain([planner.turn(self._server, cost, host_s)])

    def _worker(self, name: str, size: int, framed: bool) -> Worker:
        planner, server = self._planner, self._server
        turn = planner.turn(name, self._head.of_batch(size / self._batch))
        labels = compact(torch.zeros(size, dtype=torch.int64))
        return Worker(
            before_s=turn.forward_s,
            up=planner.way(name, server),
            up_bytes=message_bytes([self._smashed(size), labels], Kind.ACTIVATION),
            down=planner.way(server, name),
            down_bytes=message_bytes([self._smashed(size)], Kind.GRADIENT),
            after_s=turn.backward_s + turn.step_s,
            meanwhile_s=planner.fetch_s(name, size),
            opening_bytes=self._opening if framed else 0,
            closing_bytes=self._closing if framed else 0,
        )

    def _smashed(self, rows: int) -> Tensor:
        return torch.empty(rows, *self._planner.rows[self._number - 1].output_shape)


def steps_of(
    full: Mapping[str, int], rest: Mapping[str, int], batch: int
) -> Iterator[tuple[dict[str, int], int]]:
    """({worker: samples}, how many steps are like that) of one pass, in order."""
    lengths = sorted({0, *full.values(), *(n + 1 for name, n in full.items() if rest[name])})
    for start, end in itertools.pairwise(lengths):
        sizes = {}
        for name in full:
            if full[name] > start:
                sizes[name] = batch
            elif full[name] == start and rest[name]:
                sizes[name] = rest[name]
        yield sizes, end - start
