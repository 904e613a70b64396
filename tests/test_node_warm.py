"""What happens between a fork and a node's first thread."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """\
import os, threading, torch
from edgenet.node.warm import settle

def child():
    settle()
    start, bad = threading.Barrier(6), []
    def work():
        start.wait()
        try:
            torch.set_num_threads(1)
            torch.ones(300, 300).sum()
        except RuntimeError as error:
            bad.append(error)
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(len(bad))

torch.set_num_threads(1)
ended = []
for _ in range(25):
    pid = os.fork()
    if pid == 0:
        child()
    ended.append(os.waitpid(pid, 0)[1])
print(sum(code != 0 for code in ended))
"""


def test_threads_that_compute_first_at_once_do_not_meet_without_a_pool() -> None:
    """Nine of ten children fail without `settle`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")
