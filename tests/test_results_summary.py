from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import Writer, about, fedavg

from edgenet.devices import PROFILES
from edgenet.results.events import run_events
from edgenet.results.rundir import write_json
from edgenet.results.summary import summarize
from edgenet.results.tally import Tally

REQUIRED = {
    "scheme", "topology", "seed", "rounds", "wall_s", "accuracy", "loss", "parameters", "shaping",
    "bytes", "nodes", "energy_kwh", "carbon_g",
}  # fmt: skip
REQUIRED_OF_A_NODE = {
    "role", "device", "compute_s", "send_s", "wait_s", "cpu_s", "peak_rss_bytes",
    "peak_weight_bytes", "peak_stash_bytes", "energy_j", "status",
}  # fmt: skip


def summary_of(writer: Writer) -> dict[str, Any]:
    run = writer.run.run()
    return summarize(run, Tally(run_events(writer.run), run.get("nodes")))


def test_has_the_keys_that_other_programs_rely_on(tmp_path: Path) -> None:
    summary = summary_of(fedavg(tmp_path))
    assert set(summary) >= REQUIRED
    assert set(summary["bytes"]) >= {"total", "payload", "overhead", "per_link"}
    for node in summary["nodes"].values():
        assert set(node) >= REQUIRED_OF_A_NODE
    assert summary["schema_version"] == 1


def test_figures_of_a_whole_run(tmp_path: Path) -> None:
    summary = summary_of(fedavg(tmp_path))
    assert summary["outcome"] == "done"
    assert summary["exit_code"] == 0
    assert summary["rounds"] == 3
    assert summary["wall_s"] == pytest.approx(4.1)
    assert summary["round_s"] == pytest.approx(1.0)
    assert summary["loss"] == pytest.approx(1 / 3)
    assert summary["accuracy"] == pytest.approx(0.8)
    assert summary["parameters"] == 199210
    assert summary["shaping"]["used"] == "paced"
    assert summary["faults"] == []


def test_times_and_memory_of_a_node(tmp_path: Path) -> None:
    node = summary_of(fedavg(tmp_path))["nodes"]["learner1"]
    assert (node["role"], node["device"], node["status"]) == ("learner", "pi4", "done")
    assert node["compute_s"] == pytest.approx(1.5)  # 3 rounds of 0.3 s and 0.2 s of slow-down
    assert node["slowdown_s"] == pytest.approx(0.6)
    assert node["send_s"] == pytest.approx(0.3)
    assert node["wait_s"] == 0.0
    assert node["cpu_s"] == pytest.approx(0.9)
    assert node["peak_rss_bytes"] == 10**8 + 3
    assert node["peak_weight_bytes"] == 4000
    assert node["peak_stash_bytes"] is None


def test_bytes_are_counted_once_although_both_ends_wrote_them(tmp_path: Path) -> None:
    bytes_ = summary_of(fedavg(tmp_path))["bytes"]
    assert bytes_["payload"] == 2 * 2 * 3 * 1000
    assert bytes_["overhead"] == 2 * 2 * 3 * 20
    assert bytes_["total"] == bytes_["payload"] + bytes_["overhead"]
    assert sum(link["total"] for link in bytes_["per_link"].values()) == bytes_["total"]
    assert bytes_["per_link"]["server->learner0"]["messages"] == 3


def test_evaluation_is_no_part_of_the_scheme(tmp_path: Path) -> None:
    bytes_ = summary_of(fedavg(tmp_path))["bytes"]
    assert set(bytes_["by_kind"]) == {"weights"}
    assert bytes_["evaluation"]["payload"] == 2 * 3 * 77


def test_what_a_killed_sender_did_not_write_is_taken_from_the_receiver(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.message("a", "b", 1, 1.0)
    writer.message("a", "b", 2, 2.0, at="b")
    assert summary_of(writer)["bytes"]["payload"] == 2000


def test_ends_that_were_in_different_rounds_do_not_count_twice(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.message("a", "b", 1, 1.0, at="a")
    writer.message("a", "b", 0, 1.0, at="b")
    assert summary_of(writer)["bytes"]["payload"] == 1000


def test_a_node_without_an_end_is_lost_and_the_run_may_be_done(tmp_path: Path) -> None:
    summary = summary_of(fedavg(tmp_path, lost="learner1"))
    assert summary["nodes"]["learner1"]["status"] == "lost"
    assert summary["outcome"] == "done"
    (fault,) = summary["faults"]
    assert (fault["node"], fault["peer"], fault["what"], fault["round"]) == (
        "server", "learner1", "lost", 2,
    )  # fmt: skip
    assert fault["t_s"] == pytest.approx(2.5)


def test_a_node_that_never_wrote_anything_is_listed(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    write_json(writer.run.run_json, about(1))
    writer.event("server", "start", 0.0, role="server", device="host")
    node = summary_of(writer)["nodes"]["learner0"]
    assert (node["role"], node["status"], node["cpu_s"]) == ("learner", "lost", None)
    assert node["energy_j"] is None


def test_a_lost_server_means_that_the_run_failed(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.event("server", "round", 1.0, 1, loss=0.5)
    writer.event("learner0", "end", 2.0, 1, status="done")
    assert summary_of(writer)["exit_code"] == 3
    assert summary_of(writer)["outcome"] == "failed"


def test_an_interrupted_node_means_that_the_run_was(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.event("server", "end", 2.0, 1, status="interrupted", code=130)
    assert summary_of(writer)["exit_code"] == 130


def test_the_exit_code_of_the_command_decides_where_it_is_known(tmp_path: Path) -> None:
    writer = fedavg(tmp_path)
    write_json(writer.run.run_json, about(2, exit_code=3))
    assert summary_of(writer)["outcome"] == "failed"


def test_a_failed_node_says_why(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.event("a", "end", 1.0, 1, status="failed", error="loss is not finite", code=3)
    node = summary_of(writer)["nodes"]["a"]
    assert (node["status"], node["error"]) == ("failed", "loss is not finite")


def test_an_empty_run_has_a_summary(tmp_path: Path) -> None:
    summary = summary_of(Writer(tmp_path))
    assert summary["rounds"] == 0
    assert summary["wall_s"] == 0.0
    assert (summary["round_s"], summary["accuracy"], summary["energy_kwh"]) == (None, None, None)
    assert summary["bytes"]["total"] == 0


def test_energy_follows_the_model_and_leaves_out_unknown_devices(tmp_path: Path) -> None:
    summary = summary_of(fedavg(tmp_path))
    pi4 = PROFILES["pi4"]
    expected_j = pi4.idle_w * 4.1 + (pi4.load_w - pi4.idle_w) * 2.0 * 0.9
    node = summary["nodes"]["learner0"]
    assert node["energy_j"] == pytest.approx(expected_j)
    assert summary["energy_unknown"] == ["server"]
    assert summary["energy_kwh"] == pytest.approx(2 * expected_j / 3.6e6)
    assert summary["carbon_g"] == pytest.approx(summary["energy_kwh"] * 243)


def test_processor_seconds_add_up_over_the_lives_of_a_node(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for t in (0.0, 10.0):
        writer.event("a", "start", t)
        writer.event("a", "resources", t + 1, cpu_s=2.0, rss_bytes=5, peak_rss_bytes=6)
        writer.event("a", "resources", t + 2, cpu_s=3.0, rss_bytes=5, peak_rss_bytes=6)
    assert summary_of(writer)["nodes"]["a"]["cpu_s"] == 6.0


def test_a_loss_that_is_no_number_is_kept_as_it_is(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.event("a", "round", 1.0, 1, loss=math.nan)
    assert math.isnan(summary_of(writer)["loss"])
