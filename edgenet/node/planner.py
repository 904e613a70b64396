"""What each way of cutting the model would cost on a network: predictions to choose by.

Every candidate's stages are run on this host for some tenths of a second; device profiles turn that
into their seconds, channels turn bytes into the network's. What a run adds that no plan knows, such
as nodes that compete for this host's cores, is not in it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from edgenet import channels
from edgenet.data import Dataset
from edgenet.devices import PROFILES
from edgenet.links import codec
from edgenet.links.protocol import Item, Kind
from edgenet.links.slabs import Slabs
from edgenet.meters import energy
from edgenet.models.layers import LayerList, cut
from edgenet.models.throttle import slowdown
from edgenet.models.timing import StageCost, stage_cost
from edgenet.node.forecast import Leg, Worker, step_s
from edgenet.node.plan import Plan, Seat
from edgenet.node.substance import dataset_of, model_of, shares_of
from edgenet.schemes.split import compact
from edgenet.topology.graph import route
from edgenet.topology.spec import Topology


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What one candidate would cost in one round."""

    name: str
    """The scheme and where it cuts: 'psl, cut F1'."""
    round_s: float
    """Seconds a round, without evaluation."""
    sent_bytes: int
    """Bytes a round over all links: payload, headers, descriptors."""
    memory_bytes: Mapping[str, int]
    """Node -> resident bytes at most: what a node holds anyway, weights, gradients, stash."""
    fits: Mapping[str, bool | None]
    """Node -> whether its device has that memory; None where the device's is not known."""
    energy_j: float | None
    """Joules a round of all nodes whose power is known; None if none's is."""


class Planner:
    """Predicts the candidates of one plan.

    Args:
        plan: a resolved topology whose scheme has one server and many workers.
        host_flops: this host's calibrated speed (edgenet.models.calibrate).
        shared: members of a shared medium halve each other's rate (true of kernel back ends).
        budget_s: CPU seconds to measure one stage.
    """

    def __init__(
        self, plan: Plan, host_flops: float, *, shared: bool = False, budget_s: float = 0.2
    ) -> None:
        self.plan, self._budget_s, self._shared = plan, budget_s, shared
        self._topology = plan.topology
        self._dataset: Dataset = dataset_of(self._topology)
        self._slow = {seat.name: slowdown(host_flops, PROFILES[seat.device]) for seat in plan.seats}
        self._base_bytes = psutil.Process(os.getpid()).memory_info().rss
        self._server = plan.seats[0]
        self._workers = plan.seats[1:]
        shares = shares_of(self._topology, self._dataset, plan.shares)
        self._samples = {
            seat.name: len(shares[seat.share]) for seat in self._workers if seat.share is not None
        }

    def split(self) -> Iterator[Forecast]:
        """Parallel split learning (psl), cut behind every layer but the last."""
        for name in self._model().layer_names[:-1]:
            head, tail = cut(self._model(), name)
            yield self._split(f"psl, cut {name}", head, tail)

    def federated(self) -> Forecast:
        """fedavg: the whole model at every learner."""
        train = self._topology.train
        cost, _ = self._cost(self._model(), self._batch(train.batch), first=True)
        state = list(self._model().state_dict().values())
        nbytes = message_bytes(state, Kind.WEIGHTS)
        workers = [
            self._worker(
                seat, self._slow[seat.name] * cost.train_s * self._passes(seat), 0.0, nbytes, nbytes
            )
            for seat in self._workers
        ]
        took_s = step_s(workers, 0.0)
        held = {seat.name: cost.memory_bytes for seat in self._workers}
        held[self._server.name] = cost.weight_bytes * (1 + len(self._workers))
        busy = {
            seat.name: worker.before_s for seat, worker in zip(self._workers, workers, strict=True)
        }
        return self._forecast("fedavg", took_s, 2 * nbytes * len(workers), held, busy)

    def _split(self, name: str, head: LayerList, tail: LayerList) -> Forecast:
        """Full batches and the last, smaller ones are predicted apart: a step with fewer workers
        or samples is shorter."""
        batch = self._topology.train.batch
        head_cost, smashed = self._cost(head, self._batch(batch), first=True)
        full = {seat.name: self._samples[seat.name] // batch for seat in self._workers}
        rest = {seat.name: self._samples[seat.name] % batch for seat in self._workers}
        took_s, server_s, sent = 0.0, 0.0, 0
        held: dict[str, int] = {seat.name: head_cost.memory_bytes for seat in self._workers}
        for sizes, times in _steps(full, rest, batch):
            rows = sum(sizes.values())
            cost, _ = self._cost(tail, smashed[:1].expand(rows, *smashed.shape[1:]).contiguous())
            workers = [
                self._split_worker(seat, head_cost, sizes[seat.name] / batch, smashed, sizes)
                for seat in self._workers
                if sizes.get(seat.name)
            ]
            slow = self._slow[self._server.name]
            answer_s = slow * (cost.forward_s + cost.backward_s)
            took_s += times * step_s(workers, answer_s, slow * cost.step_s)
            server_s += times * slow * cost.train_s
            sent += times * sum(worker.up_bytes + worker.down_bytes for worker in workers)
            held[self._server.name] = max(
                held.get(self._server.name, 0), cost.memory_bytes + 2 * smashed.nbytes * len(sizes)
            )
        epochs = self._topology.train.local_epochs
        busy = {
            seat.name: self._slow[seat.name] * head_cost.train_s * self._passes(seat)
            for seat in self._workers
        }
        busy[self._server.name] = server_s * epochs
        return self._forecast(name, took_s * epochs, sent * epochs, held, busy)

    def _split_worker(
        self, seat: Seat, cost: StageCost, part: float, smashed: Tensor, sizes: Mapping[str, int]
    ) -> Worker:
        """One client's step with `part` of a batch."""
        slow, size = self._slow[seat.name], sizes[seat.name]
        block = smashed[:1].expand(size, *smashed.shape[1:]).contiguous()
        labels = compact(torch.zeros(size, dtype=torch.int64))
        return self._worker(
            seat,
            slow * cost.forward_s * part,
            slow * (cost.backward_s * part + cost.step_s),
            message_bytes([block, labels], Kind.ACTIVATION, flat=True),
            message_bytes([block], Kind.GRADIENT, flat=True),
        )

    def _worker(
        self, seat: Seat, before_s: float, after_s: float, up_bytes: int, down_bytes: int
    ) -> Worker:
        return Worker(
            before_s=before_s,
            after_s=after_s,
            up_bytes=up_bytes,
            down_bytes=down_bytes,
            up=self._leg(seat.name, self._server.name),
            down=self._leg(self._server.name, seat.name),
        )

    def _leg(self, source: str, target: str) -> Leg:
        channel = channels.between(self._topology, source, target)
        medium = shared_medium(self._topology, source, target) if self._shared else None
        return Leg(channel=channel, medium=medium)

    def _passes(self, seat: Seat) -> float:
        """Batches of a worker in one round; the last, smaller one counts by its size."""
        train = self._topology.train
        return train.local_epochs * self._samples[seat.name] / train.batch

    def _cost(
        self, layers: LayerList, x: Tensor, *, first: bool = False
    ) -> tuple[StageCost, Tensor]:
        optimizer = self._topology.train.optimizer
        return stage_cost(layers, x, optimizer=optimizer, first=first, budget_s=self._budget_s)

    def _forecast(
        self,
        name: str,
        took_s: float,
        sent: int,
        held: Mapping[str, int],
        busy: Mapping[str, float],
    ) -> Forecast:
        memory = {node: self._base_bytes + nbytes for node, nbytes in held.items()}
        fits = {
            seat.name: None
            if PROFILES[seat.device].memory_bytes is None
            else memory[seat.name] <= (PROFILES[seat.device].memory_bytes or 0)
            for seat in self.plan.seats
            if seat.name in memory
        }
        return Forecast(
            name=name,
            round_s=took_s,
            sent_bytes=sent,
            memory_bytes=memory,
            fits=fits,
            energy_j=self._energy_j(took_s, busy),
        )

    def _energy_j(self, took_s: float, busy: Mapping[str, float]) -> float | None:
        """The same model as a run's (edgenet.meters.energy)."""
        known = []
        for seat in self.plan.seats:
            slow = self._slow[seat.name]
            cpu_s = busy.get(seat.name, 0.0) / slow
            known.append(
                energy.energy_j(PROFILES[seat.device], wall_s=took_s, cpu_s=cpu_s, slowdown=slow)
            )
        joules = [each for each in known if each is not None]
        return sum(joules) if joules else None

    def _model(self) -> LayerList:
        return model_of(self._topology, self._dataset)

    def _batch(self, size: int) -> Tensor:
        images = self._dataset.train_x[:1].expand(size, *self._dataset.shape)
        return self._dataset.normalised(images)


def _steps(
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


def message_bytes(items: Sequence[Item], kind: Kind, *, flat: bool = False) -> int:
    """Bytes of a message on a link: header, descriptors, padding and data.

    Args:
        items: what is sent; their sizes count, not their contents.
        kind: of the message.
        flat: send each on its own; else all tensors as one list.
    """
    sent: Sequence[Item] = items if flat else [items]  # type: ignore[list-item]
    return codec.encode(sent, kind, round_=0, sequence=0, slabs=Slabs()).header.total_bytes


def shared_medium(topology: Topology, source: str, target: str) -> str | None:
    """The first shared link on the way; None if all of them have capacity to themselves."""
    links = {link.name: link for link in topology.links}
    way = route(topology, source, target) or ()
    return next((hop.link for hop in way if links[hop.link].shared), None)
