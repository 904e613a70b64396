"""Several sources, one model: `fpl` and `sl-vertical`.

Malandrino and Chiasserini, "Flexible parallel learning in edge scenarios: communication,
computational and energy cost" (FPL), section II:

     1  the layers before the junction are replicated, a copy for each source
     2  their outputs are merged by the junction layer J, fully connected
     3  the layers after it are distributed over the most suitable nodes
     4  trained by forward and backward passes over all of it, every batch; J like any other layer
     5  sources may join and leave meanwhile

`sl-vertical` (split learning on vertically partitioned data, Vepakomma et al. 2018, as FPL's
section III has it) differs in line 2: no J; the first layer that is not replicated takes all
outputs side by side. So it cannot do without any of its sources. `d-sgd` (chain.py) is line 3
alone.

What the paper leaves open. Every source sees every sample, through its own view, and all go through
them in one order, which each node draws from the seed: nothing has to be said about it. The node
that computes the loss holds the labels, so they do not travel. (In vertically partitioned data the
labels are one party's; to send them would add 8 bytes a sample to the 12 544 of C2's activation.)
A source that is lost in the middle of an epoch loses its columns at once; one that comes waits for
the next epoch. It begins with the model's initial weights, since its own are gone with it, and its
columns are zeros: the output is what it was. To test the model, branches and upper layers travel to
the server as Kind.EVALUATION; the test goes through every source's view.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgenet.data import Eye, Order
from edgenet.data.seeds import generator
from edgenet.errors import InputError, NodeError
from edgenet.links.protocol import Kind, Link, LinkGroup
from edgenet.models.junction import Merged, widened, with_junction
from edgenet.models.layers import cut
from edgenet.models.stage import Stage
from edgenet.schemes.bench import Bench, Role, Rounds, Scheme, Setting
from edgenet.schemes.chain import Chain, Judge, check_spread, load
from edgenet.schemes.local import mean, require_finite
from edgenet.schemes.parallel_options import FplOptions, VerticalOptions, check_times


@dataclass(frozen=True, kw_only=True)
class Course:
    """Who goes through which samples when."""

    order: Order
    """The order of the samples, the same for all."""
    takes_part: Callable[[str, int], bool] = lambda source, epoch: True
    """(source, epoch 1, 2, ...) -> whether it is to take part."""


def source(server: Link, branch: Stage, eye: Eye, order: Order, rounds: Rounds) -> None:
    """A source: its copy of the layers before the merge, and its view of every sample."""
    while number := server.recv():  # an empty message ends the training
        with rounds.enter(number):
            for at in order.epoch(number):
                output = branch.forward(eye.inputs(eye.train(at)))  # line 1
                server.send(output, kind=Kind.ACTIVATION)
                branch.backward(server.recv())
                branch.step()
            if rounds.due():
                server.send(branch.state(), kind=Kind.EVALUATION)


def server(
    sources: LinkGroup,
    trunk: Stage,
    model: Merged,
    judge: Judge,
    course: Course,
    rounds: Rounds,
    test: Callable[[], Mapping[str, Any]],
) -> None:
    """The node of the merge. `trunk` are those layers of `model` that run here; `test` collects
    the rest of it and says what is to be reported."""
    for number in rounds:
        anew = sources.admit()
        there = [name for name in sources.names if course.takes_part(name, number)]
        adapt(model, trunk, [name for name in there if name not in anew])
        adapt(model, trunk, there)  # line 5
        asked = sources.broadcast(number, to=there)
        losses = []
        for at in course.order.epoch(number):
            outputs = sources.gather(asked)
            adapt(model, trunk, list(outputs))
            losses.append(serve_step(sources, trunk, outputs, at, judge))
        figures: dict[str, Any] = {"loss": mean(losses), "active": list(model.sources)}
        if model.junction is not None:
            figures["junction"] = model.junction.norms()
        if rounds.due():
            for name, state in sources.gather(asked).items():
                load(model.branch(name), state)
            figures |= test()
        rounds.report(**figures)
    sources.broadcast()


def serve_step(
    sources: LinkGroup, trunk: Stage, outputs: Mapping[str, Tensor], at: Tensor, judge: Judge
) -> float:
    """One step of the server on {source: its branch's output}; returns the loss.

    Raises:
        NodeError: there is no output, or the loss is no finite number.
    """
    if not outputs:
        raise NodeError("of the sources that are to take part in this epoch none is left")
    flat = [output.flatten(1) for output in outputs.values()]
    loss, error = judge(trunk.forward(torch.cat(flat, dim=1)), at)  # lines 2, 3
    errors = torch.split(trunk.backward(error), [x.shape[1] for x in flat], dim=1)
    for (name, output), part in zip(outputs.items(), errors, strict=True):
        sources.send(name, part.reshape(output.shape), kind=Kind.GRADIENT)
    trunk.step()  # line 4
    return require_finite(loss)


def adapt(model: Merged, trunk: Stage, there: Collection[str]) -> None:
    """Take the columns of sources that are gone, and give some to those that have come.

    Raises:
        NodeError: no source is left, or the model cannot do without one that is gone.
    """
    gone = [name for name in model.sources if name not in there]
    come = [name for name in there if name not in model.sources]
    if not gone and not come:
        return
    if model.junction is None:
        raise NodeError(
            f"a model without a junction cannot go on without {', '.join(gone)}; look at "
            "their logs, or set faults.restart to have all nodes started again"
        )
    for name in gone:
        model.junction.remove(name)
    for name in come:
        model.junction.add(name)
    trunk.renew()


def _with_junction(setting: Setting) -> Merged:
    own: FplOptions = setting.options
    check_times(own, setting.cast["source"], setting.rounds)
    try:
        model = with_junction(
            setting.layers,
            own.junction or setting.layers.layer_names[-1],
            setting.shapes,
            image=setting.image,
            generator=generator("junction", setting.seed),
            activation=own.junction_relu,
            learned=own.merge == "learned",
        )
    except InputError as error:
        raise ValueError(f"junction cannot be placed there: {error}") from error
    check_spread(setting, model.trunk)
    return model


def _widened(setting: Setting) -> Merged:
    """Merged before `train.cut`'s next layer, or before the first that is fully connected."""
    layers = setting.layers
    try:
        if setting.cut is None:
            before = next(
                name for name, layer in layers.named_children() if hasattr(layer, "linear")
            )
        else:
            before = cut(layers, setting.cut)[1].layer_names[0]
        model = widened(
            layers,
            before,
            setting.shapes,
            image=setting.image,
            generator=generator("widened", setting.seed),
        )
    except InputError as error:
        raise ValueError(f"cut cannot be there: {error}") from error
    check_spread(setting, model.trunk)
    return model


def _whole(bench: Bench) -> Merged:
    model = bench.whole()
    assert isinstance(model, Merged)
    return model


def _play_source(bench: Bench) -> None:
    branch = bench.stage(_whole(bench).branch(bench.name), first=True)
    source(bench.link("server"), branch, bench.eye(), bench.order(), bench.rounds())


def _play_server(bench: Bench) -> None:
    model, order = _whole(bench), bench.order()
    chain = Chain(bench, model.trunk)
    eyes = {name: bench.eye(name) for name in bench.cast("source")}

    def infer(at: Tensor) -> Tensor:
        seen = {name: eyes[name].inputs(eyes[name].test(at)) for name in model.sources}
        return model(seen)  # type: ignore[no-any-return]

    def test() -> Mapping[str, Any]:
        chain.collect()
        state = model.state_dict()
        return {"state": list(state.values()), "names": list(state), "infer": infer}

    trunk, sources, own = bench.stage(chain.parts[0]), bench.links("source"), bench.options
    course = Course(order=order)
    if isinstance(own, FplOptions):
        course = Course(order=order, takes_part=own.takes_part)
    server(sources, trunk, model, chain.judge(), course, bench.rounds(), test)


def _play_stage(bench: Bench) -> None:
    Chain(bench, _whole(bench).trunk).play("server")


def _roles(*, essential: bool) -> tuple[Role, ...]:
    return (
        Role(name="server", play=_play_server, peers=("source", "stage")),
        Role(
            name="source",
            play=_play_source,
            peers=("server",),
            many=True,
            essential=essential,
            returns=not essential,
            sees=True,
        ),
        Role(name="stage", play=_play_stage, peers=("server", "stage"), many=True, placed=True),
    )


FPL = Scheme(
    name="fpl",
    summary="each source runs the first layers, a junction layer merges them (FPL sec. II)",
    roles=_roles(essential=False),
    options=FplOptions,
    model=_with_junction,
)

SL_VERTICAL = Scheme(
    name="sl-vertical",
    summary="each source runs the first layers, their outputs stand side by side (FPL sec. III)",
    roles=_roles(essential=True),
    options=VerticalOptions,
    model=_widened,
)
