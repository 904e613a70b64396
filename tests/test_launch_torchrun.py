"""What a rank of torchrun learns from its environment and agrees on with the others."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from edgenet.errors import InputError, NodeError
from edgenet.launchers.meeting import Meeting
from edgenet.launchers.torchrun import Place, address, check_size, join_key, place
from edgenet.meters.checkpoints import Shelf
from edgenet.results.rundir import RunDir

KEY = b"a key for tests"
ENVIRONMENT = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "abc",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


class FakeStore:
    """A dictionary that can be waited for, as torch's store is used here."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._changed = threading.Condition()

    def set(self, key: str, value: str) -> None:
        with self._changed:
            self._values[key] = value.encode()
            self._changed.notify_all()

    def get(self, key: str) -> bytes:
        self.wait([key], timedelta(seconds=10))
        return self._values[key]

    def wait(self, keys: list[str], timeout: timedelta) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.check(keys), timeout.total_seconds())

    def check(self, keys: list[str]) -> bool:
        return all(key in self._values for key in keys)


def ranks(hosts: int, each: int) -> list[Place]:
    """Places of all ranks on hosts with `each` ranks."""
    return [
        place(
            ENVIRONMENT
            | {
                "RANK": str(host * each + local),
                "WORLD_SIZE": str(hosts * each),
                "LOCAL_RANK": str(local),
                "LOCAL_WORLD_SIZE": str(each),
                "GROUP_RANK": str(host),
            }
        )
        for host in range(hosts)
        for local in range(each)
    ]


def test_place_is_read_from_torchruns_variables() -> None:
    where = place(ENVIRONMENT)
    assert (where.rank, where.size, where.local_rank, where.local_size) == (3, 4, 1, 2)
    assert (where.host, where.master, where.store_stands) == (1, ("127.0.0.1", 29500), True)
    assert where.prefix == "edgenet/abc/0"


def test_restarts_on_several_hosts_meet_in_stores_of_their_own() -> None:
    own = ENVIRONMENT | {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    again = place(own | {"TORCHELASTIC_RESTART_COUNT": "1"})
    assert again.prefix == place(own).prefix


def test_a_restart_meets_under_another_prefix() -> None:
    again = place(ENVIRONMENT | {"TORCHELASTIC_RESTART_COUNT": "1"})
    assert again.prefix != place(ENVIRONMENT).prefix


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_without_torchrun_it_says_how_to_start(name: str) -> None:
    rest = {key: value for key, value in ENVIRONMENT.items() if key != name}
    with pytest.raises(InputError, match=rf"{name} is not set: .*torchrun --nproc-per-node N"):
        place(rest)


def test_a_variable_that_is_no_number_is_named() -> None:
    with pytest.raises(InputError, match="RANK is 'x'; torchrun sets it to a whole number"):
        place(ENVIRONMENT | {"RANK": "x"})


def test_wrong_number_of_ranks_tells_the_right_one() -> None:
    where = place(ENVIRONMENT)
    check_size(where, 4, "t.yaml")
    with pytest.raises(InputError, match=r"^t\.yaml: 5 nodes .* started 4 .*per-node 5"):
        check_size(where, 5, "t.yaml")


def test_key_comes_from_the_environment_without_a_warning() -> None:
    where = place(ENVIRONMENT)
    key, warning = join_key({"EDGENET_KEY": "secret"}, where)
    other, _ = join_key({"EDGENET_KEY": "secreu"}, where)
    assert (len(key), warning) == (32, None)
    assert key != other


@pytest.mark.parametrize("environment", [{}, {"EDGENET_KEY": ""}])
def test_key_without_a_secret_warns(environment: dict[str, str]) -> None:
    one, *_ = ranks(hosts=1, each=4)
    key, warning = join_key(environment, one)
    again, _ = join_key(environment, one)
    assert key == again
    assert warning is not None
    assert "set EDGENET_KEY" in warning


@pytest.mark.parametrize("environment", [{}, {"EDGENET_KEY": ""}])
def test_several_hosts_need_a_secret(environment: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"EDGENET_KEY is not set, .*openssl rand -hex 32"):
        join_key(environment, place(ENVIRONMENT))


def test_address_is_loopback_on_one_host_only() -> None:
    one, *_ = ranks(hosts=1, each=4)
    assert address({}, one) == "127.0.0.1"
    assert address({"EDGENET_ADDRESS": "10.0.0.7"}, one) == "10.0.0.7"
    several = place(ENVIRONMENT)
    assert address({}, several) == "127.0.0.1", "the route to the master decides"


def test_all_ranks_take_the_folder_that_rank_0_made(tmp_path: Path) -> None:
    store = FakeStore()
    bases = [tmp_path / "here", tmp_path / "here", tmp_path / "there", tmp_path / "there"]
    with ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(
                lambda pair: Meeting(store, pair[0], KEY).run_dir(pair[1], "net").path,
                zip(ranks(hosts=2, each=2), bases, strict=True),
            )
        )
    assert [path.parent for path in made] == bases
    assert len({path.name for path in made}) == 1
    assert all(path.is_dir() for path in made)


def test_a_folder_that_cannot_be_made_ends_every_rank(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FakeStore()
    for where in ranks(hosts=1, each=3):
        with pytest.raises(InputError):
            Meeting(store, where, KEY).run_dir(tmp_path / "file", "net")


def test_rank_0_tells_where_nodes_find_each_other() -> None:
    store = FakeStore()
    first, second = (Meeting(store, where, KEY) for where in ranks(hosts=1, each=2))
    assert first.rendezvous(("10.0.0.1", 4711)) == ("10.0.0.1", 4711)
    assert second.rendezvous(None) == ("10.0.0.1", 4711)


def test_a_name_that_means_loopback_is_refused_on_several_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.1.1", 29500))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(InputError, match=r"'board0' is a loopback address .* EDGENET_ADDRESS"):
        address({}, place(ENVIRONMENT | {"MASTER_ADDR": "board0"}))


def test_only_the_first_rank_of_a_host_measures_and_the_others_wait(tmp_path: Path) -> None:
    store, measured = FakeStore(), []

    def measure(where: Place) -> float:
        here = range(2 * where.host, 2 * where.host + 2)
        assert store.check([f"still/{rank}" for rank in here]), "a rank of this host still works"
        measured.append(where.rank)
        return 1e9 + where.host

    with ThreadPoolExecutor(4) as pool:
        flops = pool.map(
            lambda where: Meeting(store, where, KEY).calibrate(lambda: measure(where)),
            ranks(hosts=2, each=2),
        )
        assert list(flops) == [1e9, 1e9, 1e9 + 1, 1e9 + 1]
    assert sorted(measured) == [0, 2]


def test_a_host_that_needs_no_calibration_says_none() -> None:
    store = FakeStore()
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(
            lambda where: Meeting(store, where, KEY).calibrate(lambda: None), ranks(hosts=1, each=2)
        )
        assert list(found) == [None, None]


def test_ends_are_collected_as_far_as_they_come() -> None:
    store = FakeStore()
    first, second, third = (Meeting(store, where, KEY) for where in ranks(hosts=1, each=3))
    first.leave(0)
    third.leave(3)
    assert first.ends(timeout_s=0.1) == [0, None, 3]
    second.leave(0)
    assert first.ends(timeout_s=10.0) == [0, 0, 3]


def test_what_strangers_put_into_the_store_is_not_believed(tmp_path: Path) -> None:
    store = FakeStore()
    first, second = (Meeting(store, where, KEY) for where in ranks(hosts=1, each=2))
    first.rendezvous(("10.0.0.1", 4000))
    proven = store.get("rendezvous").decode()
    Meeting(store, ranks(hosts=1, each=2)[0], b"another").rendezvous(("10.6.6.6", 1))
    for forged in (store.get("rendezvous").decode(), "10.6.6.6 1", proven.replace("10", "66")):
        store.set("rendezvous", forged)
        with pytest.raises(NodeError, match=r"'rendezvous' was not written .*same EDGENET_KEY"):
            second.rendezvous(None)
    store.set("run", proven)  # true words, but under another name
    with pytest.raises(NodeError, match="holds as 'run'"):
        second.run_dir(tmp_path, "net")
    store.set("rendezvous", proven)
    assert second.rendezvous(None) == ("10.0.0.1", 4000)


def test_a_forged_end_counts_as_none() -> None:
    store = FakeStore()
    first, second = (Meeting(store, where, KEY) for where in ranks(hosts=1, each=2))
    first.leave(0)
    second.leave(0)
    store.set("end/1", "0 forged")
    assert first.ends(5.0) == [0, None]


def test_ranks_agree_on_the_newest_round_that_all_can_go_on_after(tmp_path: Path) -> None:
    """Two hosts, each with the checkpoints of its own node; one was torn, one never written."""
    places, store = ranks(2, 1), FakeStore()
    hosts = [RunDir(tmp_path / name) for name in ("one", "two")]
    saved = {"server": (0, [4, 6, 8]), "learner": (1, [2, 4, 6])}
    for node, (host, rounds) in saved.items():
        shelf = Shelf(hosts[host].path, node)
        for number in range(1, 9):
            shelf.begin(number)
        for number in rounds:
            shelf.write(number, lambda file: 0.0 * file.write(b"state"))
    torn = Shelf(hosts[1].path, "learner").path(6)
    torn.write_bytes(torn.read_bytes()[:-1])
    hosts[0].run_json.write_text('{"digest": "d"}')

    def agree(digest: str) -> list[int]:
        with ThreadPoolExecutor(2) as pool:
            met = [Meeting(store, each, KEY) for each in places]
            work = zip(met, hosts, saved, strict=True)
            asked = [pool.submit(each.resumed, run, node, digest) for each, run, node in work]
            return [each.result() for each in asked]

    assert agree("d") == [4, 4]
    store = FakeStore()
    with pytest.raises(InputError, match="is complete, or of another topology, or"):
        agree("another")
