"""The compose file that a topology becomes."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgenet.cli.main import main
from edgenet.devices import PROFILES
from edgenet.launchers.compose import Request, document, text
from edgenet.launchers.torchrun import address, place
from edgenet.node.plan import Plan, resolve
from edgenet.topology import loads

ROOT = Path(__file__).parents[1]
WIRES = """\
name: wires
nodes: {hub: {device: pi5}, learner: {device: [host, pi1], count: 2}}
links: {lan: {rate: 10 Mbit, base: hub, members: learner}}
train: {scheme: fedavg, model: two-nn-small, data: {name: digits, train: 90, test: 30}, rounds: 1}
"""


def plan() -> Plan:
    return resolve(loads(WIRES, file="/somewhere/wires.yaml"))


def request_for(plan: Plan, **more: Any) -> Request:
    return Request(
        **{"plan": plan, "overrides": (), "folder": Path("/somewhere"), "net_admin": False} | more
    )


def services(plan: Plan, **more: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document(request_for(plan, **more))["services"]
    return found


def write(topology: str, folder: Path, *options: str) -> dict[str, Any]:
    """What `edgenet compose` writes beside the topology."""
    (folder / "t.yaml").write_text(topology, encoding="utf-8")
    out = folder / "docker-compose.yml"
    assert main(["compose", str(folder / "t.yaml"), *options, "-o", str(out)]) == 0
    found: dict[str, Any] = yaml.safe_load(out.read_text(encoding="utf-8"))
    return found


def test_the_file_at_the_top_is_what_the_command_writes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["compose", "topologies/quickstart.yaml"]) == 0
    assert capsys.readouterr().out == (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def test_each_node_is_a_service_and_a_rank() -> None:
    found = services(plan())
    assert list(found) == ["hub", "learner0", "learner1"]
    for rank, (name, service) in enumerate(found.items()):
        where = place(service["environment"])
        assert (where.rank, where.size, where.apart) == (rank, 3, True)
        assert where.master == ("hub", 29500)
        assert (where.host, where.local_rank, where.local_size) == (0, rank, 3)
        assert not where.store_stands, "rank 0 has to serve it"
        assert service["environment"]["EDGENET_ADDRESS"] == service["hostname"] == name
        assert service["labels"] == {"edgenet.rank": str(rank)}
    assert "depends_on" not in found["hub"]
    assert found["learner1"]["depends_on"] == ["hub"]


def test_a_service_has_what_its_device_has() -> None:
    found = services(plan())
    for name, device in (("hub", PROFILES["pi5"]), ("learner1", PROFILES["pi1"])):
        service = found[name]
        assert service["cpu_quota"] / service["cpu_period"] == device.cores
        assert device.memory_bytes is not None
        assert service["mem_limit"] == service["memswap_limit"]
        assert service["mem_limit"] == f"{device.memory_bytes // 2**20}m"
    limits = {"cpu_quota", "cpu_period", "mem_limit", "memswap_limit"}
    assert not limits & set(found["learner0"]), "a host is as large as the host"
    free = dataclasses.replace(plan().topology, limits="none")
    for service in services(dataclasses.replace(plan(), topology=free)).values():
        assert not limits & set(service)


def test_the_join_key_is_the_callers_and_stands_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENET_KEY", "very-secret")
    assert "very-secret" not in text(request_for(plan()))
    assert all(each["environment"]["EDGENET_KEY"] is None for each in services(plan()).values())


def test_the_right_to_shape_is_given_where_it_is_needed(tmp_path: Path) -> None:
    def given(*options: str, topology: str = WIRES) -> set[str]:
        found = write(topology, tmp_path, *options)["services"].values()
        assert all((each.get("user") == "root") == ("cap_add" in each) for each in found)
        return {name for each in found for name in each.get("cap_add", [])}

    assert given() == given("--shaping", "netem") == {"NET_ADMIN"}
    assert given("--shaping", "paced") == given("--shaping", "none") == set()
    shared = WIRES.replace("members: learner", "members: learner, shared: true")
    assert given(topology=shared) == set(), "netem could not share it"


def test_what_containers_cannot_do_is_said_before_they_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(WIRES.replace("members: learner", "members: learner, shared: true"))
    assert main(["compose", str(file), "--shaping", "relay"]) == 2
    assert "'relay' needs a router between the nodes" in capsys.readouterr().err
    assert main(["compose", str(file), "--shaping", "netem"]) == 2
    said = capsys.readouterr().err
    assert "'lan' is shared" in said
    assert "--launcher namespaces" in said


def test_changes_go_into_the_command_and_paths_are_the_files_own(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "t.yaml").write_text(WIRES)
    out = tmp_path / "deep" / "c.yml"
    options = ["--set", "train.rounds=2", "--seed", "5", "--output", str(out)]
    assert main(["compose", str(tmp_path / "t.yaml"), *options]) == 0
    service = yaml.safe_load(out.read_text())["services"]["hub"]
    inside = "/topologies/t.yaml"
    changes = ["--set", "train.rounds=2", "--set", "seed=5"]
    assert service["command"] == [inside, *changes, "--out", "/runs"]
    assert service["volumes"] == [f"../t.yaml:{inside}:ro", "runs:/runs"]
    assert (out.parent / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_a_dollar_is_no_variable() -> None:
    found = services(plan(), overrides=("name=$HOME",))
    assert "name=$$HOME" in found["hub"]["command"]


def test_datasets_that_do_not_come_along_are_mounted() -> None:
    resolved = plan()
    train = replace(
        resolved.topology.train, data=replace(resolved.topology.train.data, name="mnist")
    )
    found = services(replace(resolved, topology=replace(resolved.topology, train=train)))
    assert (
        "${EDGENET_DATA:?set it to the folder that holds mnist}:/data:ro"
        in (found["hub"]["volumes"])
    )
    assert found["hub"]["environment"]["EDGENET_DATA"] == "/data"


def test_a_rank_in_a_container_is_reached_by_its_own_address() -> None:
    where = place(services(plan())["learner0"]["environment"])
    assert address({"EDGENET_ADDRESS": "localhost"}, where) == "127.0.0.1", "a name is looked up"
