"""A node's workbench: what its role may ask for, made when it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgenet.data import Dataset, Eye, Order, ShareBatches, describe, evaluate, evaluate_at
from edgenet.links.protocol import Link, LinkGroup
from edgenet.links.shared import Shared
from edgenet.meters.start import Start
from edgenet.models.kept import KeptModule
from edgenet.models.layers import LayerList, cut
from edgenet.models.local import LocalStage
from edgenet.models.motion import Motion
from edgenet.models.stage import Stage
from edgenet.models.strategies import Choice
from edgenet.models.throttle import Throttled
from edgenet.models.versioned import VersionedStage
from edgenet.node.keeping import Keeping
from edgenet.node.plan import Plan, Seat
from edgenet.node.rounds import Infer, Keeper, NodeRounds, State
from edgenet.node.slowing import Slowing
from edgenet.node.substance import (
    dataset_of,
    eye_of,
    model_of,
    order_of,
    seeing,
    shares_of,
    whole_of,
)

TEST_BATCH = 256
"""Samples at a time in a test of the model."""


class NodeBench:
    """`schemes.bench.Bench` of one node.

    Args:
        plan: the run.
        seat: this node's place in it.
        groups: its links, by the role of the peers.
        shared: what its links report to: the journal and the byte counters.
        factor: the device's slow-down, 1 or more.
        run_dir: where the global model and checkpoints are kept; None keeps nothing.
        resume: the round to go on after; 0: from the start.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        seat: Seat,
        groups: Mapping[str, LinkGroup],
        shared: Shared,
        factor: float = 1.0,
        run_dir: Path | None = None,
        resume: int = 0,
    ) -> None:
        self._plan, self._seat, self._groups = plan, seat, groups
        self._train = plan.topology.train
        self._journal, self._meter, self._clock = shared.journal, shared.meter, shared.clock
        self._factor, self._run_dir = factor, run_dir
        events, started = plan.topology.events, Start.of(run_dir).at
        self._slowing = Slowing(events, seat.name, started, self._clock.now)
        self._dataset = dataset_of(plan.topology)
        self.keeping = Keeping(plan, seat.name, run_dir, resume, shared.journal)
        self._stages: list[LocalStage | VersionedStage] = []
        self.layout = plan.layout
        self.name, self.seed, self.options = seat.name, plan.topology.seed, plan.options
        self.local_epochs, self.batch = self._train.local_epochs, self._train.batch
        self.deadline_s = plan.topology.faults.deadline_s

    def link(self, role: str) -> Link:
        """The link to the one peer that plays `role`."""
        (link,) = self._groups[role]
        return link

    def links(self, role: str) -> LinkGroup:
        """The links to all peers that play `role`."""
        return self._groups[role]

    def model(self) -> Stage:
        """The whole model, trained here."""
        return self.stage(self.layers(), first=True)

    def head(self) -> Stage:
        """The layers before the cut."""
        return self.stage(self._cut()[0], first=True)

    def tail(self, *, lr_factor: float = 1.0) -> Stage:
        """The layers after the cut."""
        return self.stage(self._cut()[1], lr_factor=lr_factor)

    def layers(self) -> LayerList:
        """The whole model's layers, initialised by the seed."""
        return model_of(self._plan.topology, self._dataset)

    def stage(
        self,
        layers: nn.Module,
        *,
        first: bool = False,
        lr_factor: float = 1.0,
        choices: Sequence[Choice] | None = None,
    ) -> Stage:
        """`layers` as a stage of this node."""
        train = self._train
        lr = train.lr * lr_factor
        stage: LocalStage | VersionedStage
        if choices is not None:
            motion = Motion.of(train.optimizer, lr)
            stage = VersionedStage(
                layers, motion, choices, journal=self._journal, needs_input_error=not first
            )
        else:
            stage = LocalStage(layers, train.optimizer, lr, needs_input_error=not first)
        self._stages.append(stage)
        self.keeping.register(stage)
        return Throttled(stage, self._factor, self._journal, self._slowing or None, self._clock)

    def cast(self, role: str) -> tuple[str, ...]:
        """The names of all nodes that play `role`."""
        return self._plan.casts[role]

    def eye(self, name: str | None = None) -> Eye:
        """What node `name` (None = this one) sees of the dataset."""
        number = seeing(self._plan.scheme, self._plan.casts).index(name or self.name)
        return eye_of(self._plan.topology, self._dataset, number)

    def order(self, times: int = 1) -> Order:
        """The order in which every node goes through the whole training set."""
        order = order_of(self._plan.topology, self._dataset, times)
        self.keeping.register(order)
        return order

    def whole(self) -> nn.Module:
        """The scheme's own global model."""
        plan = self._plan
        whole = whole_of(plan.topology, plan.scheme, plan.options, self._dataset, plan.casts)
        self.keeping.register(KeptModule(whole))
        return whole

    def dataset(self) -> Dataset:
        """The whole dataset."""
        return self._dataset

    def batches(self) -> ShareBatches:
        """This node's share of the training data, or all of it as this node sees it."""
        share, eye = self._seat.share, None
        if share is None:
            raise ValueError(f"role '{self._seat.role}' owns no training data")
        if self._train.data.views and self._plan.role(self._seat.role).sees:
            eye, (dealt,) = self.eye(), shares_of(self._plan.topology, self._dataset, 1)
        else:
            dealt = shares_of(self._plan.topology, self._dataset, self._plan.shares)[share]
        labels = describe(self._dataset.train_y, [dealt], self._dataset.classes)[0]
        self._journal.event("share", samples=len(dealt), labels=labels)
        batch = self._train.batch
        batches = ShareBatches(self._dataset, dealt, batch, seed=self.seed, share=share, eye=eye)
        self.keeping.register(batches)
        return batches

    def rounds(self) -> NodeRounds:
        """The rounds to go through."""
        keep = None if self._run_dir is None else self._run_dir / "model.pt"
        return NodeRounds(
            evaluate_every=self._train.evaluate,
            journal=self._journal,
            meter=self._meter,
            tester=self._test,
            keeper=Keeper(keep, tuple(self._shell().state_dict())),
            settle=self._settle,
            keeping=self.keeping,
        )

    def clock(self) -> float:
        """The device's clock."""
        return self._clock.now()

    def note(self, event: str, **fields: Any) -> None:
        """Append an event to the node's journal."""
        self._journal.event(event, **fields)

    def traffic(self) -> None:
        """Record the bytes that crossed each link since it stands."""
        totals = self._meter.totals()
        for peer in sorted({peer for peer, _ in totals}):
            moved = {way: totals.get((peer, way), 0) for way in ("out", "in")}
            self._journal.event("traffic", peer=peer, **moved)

    def finish(self) -> None:
        """Let the device finish; record what was counted since the last round ended."""
        self._settle()
        if self._clock.device_s > 0:
            done = {"device_s": self._clock.device_s, "behind_s": self._clock.behind_s}
            self._journal.event("emulated", **{key: round(s, 6) for key, s in done.items()})
        self._meter.write(self._journal)

    def memory(self) -> dict[str, int]:
        """Bytes that the node's stages hold and held at most, for the `resources` event."""
        return {
            "peak_weight_bytes": sum(stage.weight_bytes for stage in self._stages),
            "peak_stash_bytes": sum(stage.peak_stash_bytes for stage in self._stages),
        }

    def held(self) -> str:
        """What the node's stages hold now, for a sentence."""
        return "; ".join(stage.held() for stage in self._stages)

    def plight(self) -> str:
        """For the sentence of a node with too little memory: what it held, and what would fit."""
        advise = self._plan.scheme.advise
        held = f"; it held {self.held()}" if self._stages else ""
        return held + ("" if advise is None else f"; {advise(self.layout, self.name)}")

    def _shell(self) -> LayerList:
        """The whole model without its weights: a device that trains a part of a large one would
        have no room for a second copy."""
        with torch.device("meta"):
            return self.layers()

    def _settle(self) -> None:
        self._clock.settle(self._journal)

    def _cut(self) -> tuple[LayerList, LayerList]:
        if self._train.cut is None:
            raise ValueError(f"role '{self._seat.role}' needs train.cut")
        return cut(self.layers(), self._train.cut)

    def _test(self, models: Sequence[State], infer: Infer | None = None) -> tuple[float, float]:
        """(mean loss, accuracy) over the test set, dealt out among the models in turn."""
        if infer is not None:
            score = evaluate_at(infer, self._dataset, TEST_BATCH)
            return score.loss, score.accuracy
        model = self._shell().eval()
        names = tuple(model.state_dict())
        loss, right, samples = 0.0, 0.0, 0
        for i, tensors in enumerate(models):
            model.load_state_dict(dict(zip(names, tensors, strict=True)), assign=True)
            share = torch.arange(i, len(self._dataset.test_y), len(models))
            part = evaluate(model, self._dataset, TEST_BATCH, share)
            loss += part.loss * part.samples
            right += part.accuracy * part.samples
            samples += part.samples
        return loss / samples, right / samples
