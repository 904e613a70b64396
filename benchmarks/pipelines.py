"""Pipelines against torch.distributed.pipelining's Schedule1F1B: samples per second and memory.

Both train the same model, cut the same way, with the same batch, micro-batches, optimizer and one
thread a process, over gloo, in turn, within one run, and neither keeps checkpoints: on loopback
(`1f1b`), and, where this process may make network namespaces, over a link of 54 Mbit/s and 5 ms
between two of them (`1f1b`, `pipedream`, `mcpipe-adaptive`; the relay shapes both sides' packets
alike). Counted from the first forward of an epoch to its last update, without the first epoch.

`--quick`: one repetition each. `--full`: five.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.distributed as dist
from common import Figures, Finished, arguments, run_edgenet, say
from torch._C._distributed_c10d import FileStore
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from edgenet.data import load, subset
from edgenet.meters.resources import peak_rss_bytes
from edgenet.node.plan import Plan, resolve
from edgenet.shaping.choice import available
from edgenet.shaping.kernel import Kernel
from edgenet.shaping.network import Network
from edgenet.topology import loads

WORKERS, BATCH, PARTS, STEPS, EPOCHS = 2, 32, 4, 10, 8
LINK = "rate: 54 Mbit, delay: 5 ms"
LOOPBACK = ("1f1b",)
OVER_LINK = ("1f1b", "pipedream", "mcpipe-adaptive")
DEVICE = "wire"
"""The link's name, and that of its interface in a namespace."""


def topology(scheme: str = "1f1b", link: str = "") -> str:
    """Workers on a switch; unshaped, or behind a `link`."""
    return f"""\
name: pipelines
nodes:
  worker: {{device: host, count: {WORKERS}}}
links:
  {DEVICE}: {{{link}{", " if link else ""}members: worker}}
shaping: {"relay" if link else "none"}
seed: 7
faults: {{silence: 60 s, checkpoint: 0}}
train:
  scheme: {scheme}
  model: vgg16-w16
  data: {{name: digits, train: {BATCH * STEPS}, test: 16}}
  window: {PARTS}
  rounds: {EPOCHS}
  batch: {BATCH}
  lr: 0.01
  evaluate: 0
"""


def main() -> None:
    """All in turn; a ratio above 1 (speed) or below (memory) is in edgenet's favour."""
    if "--rank" in sys.argv:
        _rank(_peer_arguments())
        return
    options = arguments(__doc__)
    repetitions = 5 if options.full else 1 if options.quick else 3
    figures = compared(repetitions, LOOPBACK)
    lacking = available("relay")
    if lacking is None:
        figures |= {
            f"link: {key}": value for key, value in compared(repetitions, OVER_LINK, LINK).items()
        }
    else:
        figures["link"] = f"left out: {lacking}"
    say(figures, options.format)


def compared(repetitions: int, schemes: Sequence[str], link: str = "") -> Figures:
    """Torch's pipeline and each scheme in turn; speeds, their ratios to torch's, peak memory."""
    theirs, ours = [], dict[str, list[tuple[float, float]]]()
    words = ("--launcher", "namespaces") if link else ()
    for number in range(repetitions):
        if number % 2 == 0:  # a host may be slower, or faster, for who comes second
            theirs.append(_torch(link))
        for scheme in schemes:
            run = run_edgenet(topology(scheme, link), *words)
            ours.setdefault(scheme, []).append(_ours(run))
        if number % 2 == 1:
            theirs.append(_torch(link))
    figures: Figures = {"torch: samples/s": statistics.median(speed for speed, _ in theirs)}
    figures["torch: peak resident (MB)"] = max(rss for _, rss in theirs) / 1e6
    for scheme, found in ours.items():
        ratios = [mine[0] / its[0] for mine, its in zip(found, theirs, strict=True)]
        figures |= {
            f"{scheme}: samples/s": statistics.median(speed for speed, _ in found),
            f"{scheme}: ratio": statistics.median(ratios),
            f"{scheme}: ratio, least": min(ratios),
            f"{scheme}: ratio, most": max(ratios),
            f"{scheme}: peak resident (MB)": max(rss for _, rss in found) / 1e6,
        }
    return figures


def _ours(run: Finished) -> tuple[float, float]:
    """(samples per second, peak resident bytes of the larger worker)."""
    seconds = 0.0
    for number in range(2, EPOCHS + 1):
        spans = [
            e
            for e in run.events["worker0"]
            if e["e"] == "span" and e["k"] == "compute" and e["r"] == number
        ]
        seconds += max(s["t"] + s["d"] for s in spans) - min(s["t"] for s in spans)
    nodes = run.summary["nodes"].values()
    rss = max(float(node["peak_rss_bytes"]) for node in nodes)
    return BATCH * STEPS * (EPOCHS - 1) / seconds, rss


def _torch(link: str = "") -> tuple[float, float]:
    """The same from processes of torch's own."""
    with tempfile.TemporaryDirectory(prefix="edgenet-bench-") as folder, ExitStack() as stack:
        network = None
        if link:
            spec = loads(topology(link=link), file="pipelines.yaml")
            network = stack.enter_context(Network(spec, "relay"))
        words = [sys.executable, __file__, "--folder", folder, "--rank"]
        processes = [_started([*words, str(n)], network, f"worker{n}") for n in range(WORKERS)]
        try:
            codes = [process.wait(300) for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if any(codes):
            sys.exit(f"torch's pipeline ended with {codes}")
        found = [json.loads((Path(folder) / f"{n}.json").read_text()) for n in range(WORKERS)]
    return found[0]["speed"], max(each["rss"] for each in found)


def _started(words: list[str], network: Network | None, node: str) -> subprocess.Popen[bytes]:
    """A process at a node of the network; gloo is told which of its interfaces to use."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if network is None:
        return subprocess.Popen(words, env=environment)
    with Kernel(network.namespace(node)) as kernel:
        kernel.address(DEVICE, network.address(node), 32)
    with network.inside(node):
        return subprocess.Popen(words, env={**environment, "GLOO_SOCKET_IFNAME": DEVICE})


def _peer_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rank", type=int, required=True)
    return parser.parse_args()


def _rank(options: argparse.Namespace) -> None:
    """One process of torch's pipeline."""
    torch.set_num_threads(1)
    plan = resolve(loads(topology(), file="pipelines.yaml"))
    store = FileStore(str(options.folder / "store"), WORKERS)
    dist.init_process_group("gloo", store=store, rank=options.rank, world_size=WORKERS)
    schedule, optimizer, x, y = _pipeline(plan, options.rank)
    last = options.rank == WORKERS - 1
    start = 0.0
    for step in range(STEPS * EPOCHS):
        if step == STEPS:
            start = time.perf_counter()
        at = slice(step % STEPS * BATCH, step % STEPS * BATCH + BATCH)
        optimizer.zero_grad()
        if last:
            schedule.step(target=y[at], losses=[])
        else:
            schedule.step(x[at])
        optimizer.step()
    speed = BATCH * STEPS * (EPOCHS - 1) / (time.perf_counter() - start)
    said = json.dumps({"speed": speed, "rss": peak_rss_bytes()})
    (options.folder / f"{options.rank}.json").write_text(said)
    dist.barrier()
    dist.destroy_process_group()


def _pipeline(
    plan: Plan, rank: int
) -> tuple[Schedule1F1B, torch.optim.Optimizer, torch.Tensor, torch.Tensor]:
    """Stage `rank` of the plan's own cut, in torch's classes; and the data."""
    from edgenet.models.layers import build

    train = plan.topology.train
    dataset = subset(load(train.data.name), train.data, plan.topology.seed)
    model = build(train.model, classes=dataset.classes, shape=dataset.shape, seed=7)
    module = plan.layout.layers(model, rank)
    stage = PipelineStage(module, rank, WORKERS, torch.device("cpu"))
    schedule = Schedule1F1B(stage, PARTS, loss_fn=torch.nn.functional.cross_entropy)
    optimizer = torch.optim.SGD(module.parameters(), train.lr)
    return schedule, optimizer, dataset.normalised(dataset.train_x), dataset.train_y


if __name__ == "__main__":
    main()
