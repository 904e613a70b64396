"""Nodes that cannot write any more: a disk that is full, or a limit on the size of files."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from facilities import needs
from small_runs import events, topology
from test_faults import Run, start

from edgenet.errors import CannotWrite
from edgenet.meters import Journal
from edgenet.meters.checkpoints import Shelf
from edgenet.topology import dump
from edgenet.topology.spec import Topology

__all__ = ["start"]  # a fixture

FULL = Path("/dev/full")
"""Whoever writes to it finds the disk full."""
KIB = 1024
DATA = {"name": "digits", "train": 40, "test": 10}


@needs("Linux")
def test_a_journal_that_cannot_write_tells_the_thread_that_made_it() -> None:
    journal = Journal(FULL)
    others = threading.Thread(target=lambda: journal.event("start"))
    others.start()
    others.join()
    with pytest.raises(CannotWrite, match=r"/dev/full: cannot be written \(No space left on dev"):
        journal.event("resources", rss_bytes=1)
    with pytest.raises(CannotWrite), journal.span("wait", "recv"):
        pass
    journal.close()


def test_where_no_journal_can_be_made_there_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("a file", encoding="ascii")
    with pytest.raises(CannotWrite, match=r"nodes/a/events.jsonl: cannot be written .*; make room"):
        Journal(tmp_path / "nodes" / "a" / "events.jsonl")


@needs("Linux")
def test_a_checkpoint_without_room_leaves_nothing_and_names_the_systems_reason(
    tmp_path: Path,
) -> None:
    import torch

    shelf = Shelf(tmp_path, "a")
    shelf.begin(1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * KIB, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            shelf.write(1, lambda file: torch.save(torch.zeros(10_000), file) or 0.0)  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in shelf.folder.iterdir()) == ["rounds"]


def confined(run: Run, node: str, size: int) -> None:
    """From now on no file that the node writes may get larger."""
    resource.prlimit(run.pid(node), resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.processes
@needs("Linux")
def test_a_run_goes_on_without_who_cannot_write_and_with_who_cannot_save(
    start: Callable[[Topology], Run],
) -> None:
    faults = {"heartbeat": "1 s", "silence": "20 s", "checkpoint": 2}
    run = start(topology("fedavg", 3, faults, data=DATA, model="leaf-cnn", rounds=15))
    run.reach(3)
    confined(run, "learner1", KIB)
    confined(run, "learner2", 1024 * KIB)
    code, summary, err = run.end(60.0)
    assert code == 0, err
    journal = run.out / "nodes" / "learner1" / "events.jsonl"
    assert f"learner1 failed: {journal}: cannot be written (File too large); make room" in err
    assert "Traceback" not in err
    assert summary["rounds"] == 15
    assert [fault["peer"] for fault in summary["faults"]] == ["learner1"]
    assert summary["nodes"]["learner1"]["status"] == "failed"
    assert "make room" in summary["nodes"]["learner1"]["error"]
    assert summary["nodes"]["learner2"]["status"] == "done"
    (warning,) = (event["text"] for event in events(run.out, "learner2", "log"))
    assert warning == "no more checkpoints: File too large"
    assert max(Shelf(run.out, "learner2").rounds()) < max(Shelf(run.out, "learner0").rounds())


@pytest.mark.processes
@needs("root", "Linux")
def test_a_full_disk_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    faults = {"heartbeat": "1 s", "silence": "20 s", "checkpoint": 0}
    file, out = tmp_path / "small.yaml", tmp_path / "disk"
    file.write_text(dump(topology("fedavg", 2, faults, rounds=100_000)), encoding="utf-8")
    out.mkdir()
    edgenet = f"{sys.executable} -m edgenet run {file} --out {out}/runs"
    script = (
        f"mount -t tmpfs -o size=1m none {out} && {edgenet}; code=$?; ls {out}/runs; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(("edgenet: server ", "edgenet: learner"))
    assert "cannot " in last
    assert "; make room" in last
    assert done.stdout.splitlines()[-1].startswith("small-")
