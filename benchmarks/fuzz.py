"""Bytes from nowhere, and valid ones with changes, into everything that reads what others wrote.

Each target (`fuzz_targets.py`: frames, messages, handshakes, second connections, the rendezvous,
topologies, plans, `--set`) gets its share of `--inputs`; the same number and seed make the same
inputs. An input is accepted, refused with the error that is documented, or a failure, and failures
are printed with the bytes. `worst_s` is the longest that one input took, `peak_rss_mib` what
a process held at most, `grown_mib` how much of that came with the inputs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from common import say
from fuzz_inputs import Target, mutated
from fuzz_targets import outcome, targets

CHUNK = 5000
HANG_S = 10
"""An input that takes longer has hung."""
_MOST_TOLD = 10


@dataclass
class Tally:
    """What became of some inputs."""

    counts: Counter[str] = field(default_factory=Counter)
    worst_s: float = 0.0
    first_mib: float = 0.0
    peak_mib: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)
    """Where and what -> the first input, as Python writes it."""


def main() -> None:
    """Fuzz, and end with 1 if anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=targets(), help="this target alone gets all inputs")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    given = parser.parse_args()
    start = time.monotonic()
    tallies = _fuzz(given)
    whole = _sum(list(tallies.values()))
    figures: dict[str, Any] = {
        "inputs": sum(whole.counts.values()),
        "accepted": whole.counts["accepted"],
        "refused": whole.counts["refused"],
        "failures": whole.counts["failed"],
        "worst_s": whole.worst_s,
        "peak_rss_mib": whole.peak_mib,
        "grown_mib": whole.peak_mib - whole.first_mib,
        "wall_s": time.monotonic() - start,
    }
    say(figures, given.format)
    if given.format == "text":
        say({name: _line(tally) for name, tally in tallies.items()}, given.format)
    for where, data in list(whole.failures.items())[:_MOST_TOLD]:
        print(f"{where}\n    {data}", file=sys.stderr)
    sys.exit(1 if whole.failures else 0)


def _fuzz(given: argparse.Namespace) -> dict[str, Tally]:
    chosen = {given.only: 1.0} if given.only else {n: t.share for n, t in targets().items()}
    work = []
    for name, share in chosen.items():
        left = max(1, round(given.inputs * share))
        work += [
            (name, given.seed, number, min(CHUNK, left - CHUNK * number))
            for number in range(-(-left // CHUNK))
        ]
    # Those that take longest first, so that no core idles at the end.
    work.sort(key=lambda each: each[0] not in ("topology", "plan", "--set"))
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        done = list(pool.map(_chunk, work))
    names = [name for name, *_ in work]
    return {
        name: _sum([each for each, of in zip(done, names, strict=True) if of == name])
        for name in chosen
    }


def _chunk(work: tuple[str, int, int, int]) -> Tally:
    name, seed, number, inputs = work
    torch.set_num_threads(1)
    target, draw = targets()[name], random.Random(f"{seed}/{name}/{number}")
    tally = Tally(first_mib=_rss_mib())
    signal.signal(signal.SIGALRM, _hung)
    for _ in range(inputs):
        _one(target, mutated(draw, target), tally)
    tally.peak_mib = _rss_mib()
    return tally


def _one(target: Target, data: bytes, tally: Tally) -> None:
    start = time.perf_counter()
    signal.alarm(HANG_S)
    try:
        tally.counts[outcome(target, data)] += 1
    except BaseException as error:
        tally.counts["failed"] += 1
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        what = f"{target.name}: {type(error).__name__} at {place}: {str(error)[:200]}"
        tally.failures.setdefault(what, repr(data[:2000]))
    finally:
        signal.alarm(0)
    tally.worst_s = max(tally.worst_s, time.perf_counter() - start)


def _hung(*_: object) -> None:
    raise TimeoutError(f"took longer than {HANG_S} s")


def _rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _sum(tallies: list[Tally]) -> Tally:
    whole = Tally(first_mib=min(each.first_mib for each in tallies))
    for each in tallies:
        whole.counts += each.counts
        whole.worst_s = max(whole.worst_s, each.worst_s)
        whole.peak_mib = max(whole.peak_mib, each.peak_mib)
        whole.failures.update(each.failures)
    return whole


def _line(tally: Tally) -> str:
    counts = tally.counts
    return (
        f"{counts['accepted']} accepted, {counts['refused']} refused, {counts['failed']} failed, "
        f"worst {tally.worst_s * 1e3:.1f} ms"
    )


if __name__ == "__main__":
    main()
