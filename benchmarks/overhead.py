"""What the testbed itself costs: FedAvg rounds of a 26 MB model with 4 learners and no training.

`round_s` is the median round of `edgenet run` on loopback: 26 MB to each of four learner processes
and 26 MB back from each, averaged and loaded. `raw_gloo_s` is the limit in the same run: the same
bytes between five processes by bare gloo sends and receives, with nothing else done. `ratio` is
what is left to gain. `checkpoint_share` is by how much longer the mean round takes than in a run
whose nodes do not save themselves.
"""

from __future__ import annotations

import datetime
import multiprocessing
import os
import socket
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed
from common import Figures, arguments, exchange, run_edgenet, say, star

from edgenet.models.layers import build

LEARNERS = 4
CLASSES = 10
"""Of the digits: the model weighs 26.0 MB (with the 62 classes of its paper 26.4 MB)."""
WARM_UP = 2
"""Rounds that are not counted: the first ones allocate."""
GLOO: Any = torch.distributed
"""Torch has no type stubs for what is used of it here."""
PATIENCE = datetime.timedelta(seconds=120)


def main() -> None:
    """Measure both, one after the other, and say the ratio."""
    given = arguments(__doc__)
    rounds = WARM_UP + (6 if given.quick else 60 if given.full else 20)
    topology = star("overhead", LEARNERS, exchange(rounds))
    run = run_edgenet(topology)
    took_s = [float(each["wall_s"]) for each in run.rounds[WARM_UP:]]
    unsaved = run_edgenet(topology, "--set", "faults.checkpoint=0").rounds[WARM_UP:]
    unsaved_s = statistics.fmean(float(each["wall_s"]) for each in unsaved)
    model_bytes = parameter_bytes()
    raw_s = raw_exchange(model_bytes, rounds)[WARM_UP:]
    payload = run.summary["bytes"]["payload"] / run.summary["rounds"]
    figures: Figures = {
        "round_s": statistics.median(took_s),
        "round_max_s": max(took_s),
        "raw_gloo_s": statistics.median(raw_s),
        "ratio": statistics.median(took_s) / statistics.median(raw_s),
        "checkpoint_share": statistics.fmean(took_s) / unsaved_s - 1,
        "rounds": len(took_s),
        "learners": LEARNERS,
        "model_bytes": model_bytes,
        "payload_bytes_per_round": payload,
        "overhead_share": run.summary["bytes"]["overhead"] / run.summary["bytes"]["payload"],
        "cores": len(os.sched_getaffinity(0)),
    }
    say(figures, given.format)


def parameter_bytes() -> int:
    """What one copy of the model weighs."""
    model = build("leaf-cnn", classes=CLASSES, shape=(1, 28, 28), seed=0)
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def raw_exchange(model_bytes: int, rounds: int) -> list[float]:
    """Seconds of each round in which one process sends so many bytes to each learner's process
    and receives as many from each, over one two-rank gloo group per learner."""
    torch.set_num_threads(1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    context = multiprocessing.get_context("fork")
    readers, workers = [], []
    for rank in range(LEARNERS + 1):
        reader, writer = context.Pipe(duplex=False)
        work = (rank, port, model_bytes, rounds, writer)
        workers.append(
            context.Process(target=_raw_server if rank == 0 else _raw_learner, args=work)
        )
        readers.append(reader)
    try:
        for worker in workers:
            worker.start()
        if not readers[0].poll(PATIENCE.total_seconds()):
            raise TimeoutError("the raw gloo exchange did not end")
        return [float(value) for value in readers[0].recv_bytes().split()]
    finally:
        for worker in workers:
            worker.join(10)
            worker.kill()


def _group(store: Any, name: str, rank: int) -> Any:
    options = GLOO.ProcessGroupGloo._Options()
    options._devices = [GLOO.ProcessGroupGloo.create_device(hostname="127.0.0.1")]
    options._threads, options._timeout = 1, PATIENCE
    return GLOO.ProcessGroupGloo(GLOO.PrefixStore(name, store), rank, 2, options)


def _raw_server(rank: int, port: int, model_bytes: int, rounds: int, out: Connection) -> None:
    store = GLOO.TCPStore("127.0.0.1", port, None, True, PATIENCE, False)
    groups = [_group(store, str(peer), 0) for peer in range(1, LEARNERS + 1)]
    model = torch.zeros(model_bytes, dtype=torch.uint8)
    answers = [torch.zeros_like(model) for _ in groups]
    took_s = []
    for _ in range(rounds):
        start = time.perf_counter()
        pairs = zip(groups, answers, strict=True)
        works = [group.recv([answer], 1, 1) for group, answer in pairs]
        works += [group.send([model], 1, 1) for group in groups]
        for work in works:
            work.wait()
        took_s.append(time.perf_counter() - start)
    out.send_bytes(" ".join(map(repr, took_s)).encode())


def _raw_learner(rank: int, port: int, model_bytes: int, rounds: int, out: Connection) -> None:
    store = GLOO.TCPStore("127.0.0.1", port, None, False, PATIENCE, False)
    group = _group(store, str(rank), 1)
    model = torch.zeros(model_bytes, dtype=torch.uint8)
    for _ in range(rounds):
        group.recv([model], 0, 1).wait()
        group.send([model], 0, 1).wait()
    # The server's process keeps the store: leave only when it has all answers.
    out.close()


if __name__ == "__main__":
    main()
