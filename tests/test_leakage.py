"""`edgenet leakage` on finished runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from edgenet.cli.main import main
from edgenet.errors import InputError
from edgenet.node.leakage import Attack, attack
from edgenet.topology.load import dump
from tests.small_runs import run, topology

QUICK = Attack(epochs=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of small runs, by scheme."""
    base = tmp_path_factory.mktemp("runs")
    settings: dict[str, dict[str, Any]] = {
        "psl": {"cut": "F1"},
        "sgl": {"cut": "F1", "phi": 0.5, "data": {"name": "digits", "train": 120, "test": 60}},
        "sfl": {
            "cut": "C1",
            "model": "leaf-cnn",
            "data": {"name": "digits", "train": 40, "test": 30},
        },
        "fedavg": {},
    }
    for scheme, own in settings.items():
        spec = topology(scheme, 2, rounds=1, **own)
        run(spec, base / scheme)
        (base / scheme / "topology.yaml").write_text(dump(spec), encoding="utf-8")
    return {scheme: base / scheme for scheme in settings}


def test_runs_are_set_side_by_side(
    finished: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "leakage.png"
    runs = [str(finished["psl"]), str(finished["sgl"])]
    arguments = ["--epochs", "2", "--picture", str(picture), "--format", "json"]
    assert main(["leakage", *runs, *arguments]) == 0
    psl, sgl = json.loads(capsys.readouterr().out)
    assert (psl["scheme"], psl["phi"], sgl["scheme"], sgl["phi"]) == ("psl", 0.0, "sgl", 0.5)
    for found in (psl, sgl):
        assert found["samples"] == 12  # a fifth of 60
        assert 0 < found["bce_exact"] < found["bce"]
        assert -1 <= found["ssim"] <= 1
        kept = json.loads((Path(found.pop("run")) / "leakage.json").read_text(encoding="utf-8"))
        assert kept == found
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_table_goes_to_stdout_and_the_picture_into_the_run(
    finished: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leakage", str(finished["sfl"]), "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "nats" in out
    assert str(finished["sfl"] / "leakage.png") in out
    assert (finished["sfl"] / "leakage.png").is_file()


def test_an_attack_is_repeatable_and_names_its_client(finished: dict[str, Path]) -> None:
    one, again = attack(finished["psl"], QUICK), attack(finished["psl"], QUICK)
    assert one.as_dict() == again.as_dict()
    assert torch.equal(one.guessed, again.guessed)
    assert attack(finished["sfl"], QUICK).client is None
    both = [attack(finished["psl"], Attack(epochs=1, client=client)) for client in (0, 1)]
    assert [each.client for each in both] == [0, 1]
    assert both[0].leak.bce != both[1].leak.bce  # heads of psl are never averaged
    assert one.client in (0, 1)


def test_clients_keep_their_own_part_and_nothing_else(finished: dict[str, Path]) -> None:
    heads = torch.load(finished["psl"] / "models.pt", weights_only=True)
    whole = torch.load(finished["psl"] / "model.pt", weights_only=True)
    assert [list(head) for head in heads] == [["F1.linear.weight", "F1.linear.bias"]] * 2
    mean = sum(head["F1.linear.weight"] for head in heads) / 2
    torch.testing.assert_close(mean, whole["F1.linear.weight"])
    assert not (finished["sfl"] / "models.pt").exists()


@pytest.mark.parametrize(
    ("scheme", "how", "text"),
    [
        ("fedavg", QUICK, "scheme 'fedavg' cuts no model, so there are no smashed data"),
        ("psl", Attack(client=2), "there is no client 2; clients are 0 to 1"),
        ("psl", Attack(samples=9), "a decoder needs 10 held-out images or more, not 9"),
    ],
)
def test_what_cannot_be_attacked_says_why(
    scheme: str, how: Attack, text: str, finished: dict[str, Path]
) -> None:
    with pytest.raises(InputError, match=text):
        attack(finished[scheme], how)


def test_a_folder_without_a_run_is_bad_input(
    tmp_path: Path, finished: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leakage", str(tmp_path)]) == 2
    (tmp_path / "topology.yaml").write_bytes((finished["psl"] / "topology.yaml").read_bytes())
    assert main(["leakage", str(tmp_path)]) == 2
    assert "give the folder of a run that has ended" in capsys.readouterr().err


def test_runs_on_other_images_cannot_be_compared(
    finished: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(finished[scheme]) for scheme in ("psl", "sfl")]
    assert main(["leakage", *runs, "--epochs", "1"]) == 2
    assert "was tested on other images than" in capsys.readouterr().err
