"""VGG16 on three emulated boards of 512 MB, whose memory the kernel enforces.

    python benchmarks/three_boards.py      two minutes; as root, where there are control groups

`topologies/three-boards-512mb.yaml` is run twice. Under `pipedream` a board outgrows its memory;
the run has to end with a sentence that names it, what it held and which scheme would fit. Under
`mcpipe-adaptive` it has to train to the end.

    pipedream         the sentence
    told              whether it names the board, its memory and a scheme that fits
    mcpipe-adaptive   'trained', or the sentence
    shown             both as they have to be
"""

from __future__ import annotations

from pathlib import Path

from common import arguments, run_edgenet, say

TOPOLOGY = Path(__file__).parent.parent / "topologies" / "three-boards-512mb.yaml"


def ended(scheme: str) -> tuple[bool, str]:
    """Whether a run under `scheme` trained to its end, and what it said if not."""
    text = TOPOLOGY.read_text(encoding="utf-8")
    try:
        done = run_edgenet(text, "--set", f"train.scheme={scheme}", "--set", "limits=cgroup")
    except SystemExit as failed:
        return False, str(failed).strip().splitlines()[-1]
    return done.summary["rounds"] == done.summary["rounds_asked"], "trained"


def main() -> None:
    """Run both and say."""
    options = arguments(__doc__)
    fits, said = ended("pipedream")
    told = all(word in said for word in ("board", "512 MiB", "held", "mcpipe-adaptive"))
    trained, outcome = ended("mcpipe-adaptive")
    found = {
        "pipedream": said,
        "told": told,
        "mcpipe-adaptive": outcome,
        "shown": told and not fits and trained,
    }
    say(found, options.format)


if __name__ == "__main__":
    main()
