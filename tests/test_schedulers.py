"""launch/slurm.sbatch and launch/kubernetes.yaml, as far as they can run without a cluster."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from facilities import needs
from small_runs import assert_same, topology
from small_runs import run as run_here

from edgenet.shaping.network import Network
from edgenet.topology import dump, loads
from edgenet.topology.spec import Topology

ROOT = Path(__file__).parents[1]
HOSTS = loads(
    "name: hosts\nnodes: {host: {count: 2}}\nlinks: {lan: {members: host}}\n"
    "train: {scheme: fedavg, rounds: 1}\n"
)
SRUN = """\
#!/bin/sh
# A stand-in for srun: the command on every host of the allocation, each a network namespace.
echo "$@" > "$SRUN_SAID"
while case $1 in --*) true ;; *) false ;; esac; do shift; done
id=0
for namespace in $SRUN_NAMESPACES; do
    SLURM_NODEID=$id nsenter --net="$namespace" "$@" &
    id=$((id + 1))
    pids="${pids:-} $!"
done
code=0
for pid in $pids; do wait "$pid" || code=$?; done
exit $code
"""
SCONTROL = '#!/bin/sh\n[ "$1 $2" = "show hostnames" ] && printf "%s\\n" $SRUN_ADDRESSES\n'

pytestmark = [pytest.mark.processes, pytest.mark.timeout(200)]


def written(folder: Path, spec: Topology) -> Path:
    path = folder / "small.yaml"
    path.write_text(dump(spec), encoding="utf-8")
    return path


def assert_weights_of_one_host(spec: Topology, out: Path, folder: Path) -> None:
    (run,) = out.iterdir()
    here = run_here(spec, folder / "here").state
    assert_same(here, torch.load(run / "model.pt", weights_only=True), exact=True)


def slurm(folder: Path, network: Network, *arguments: object, **more: str) -> tuple[int, str]:
    """What Slurm does with the file: exit code, and what it says."""
    tools = folder / "bin"
    tools.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    spool = folder / "slurm_script"
    spool.write_bytes((ROOT / "launch" / "slurm.sbatch").read_bytes())
    hosts = [node.name for node in HOSTS.nodes]
    environment = os.environ | {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMPDIR": str(folder),  # torchrun leaves its logs there
        "OUT": str(folder / "out"),
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "host[0-1]",
        "SLURM_JOB_NUM_NODES": str(len(hosts)),
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SRUN_SAID": str(folder / "said"),
        "SRUN_NAMESPACES": " ".join(str(network.namespace(host)) for host in hosts),
        "SRUN_ADDRESSES": " ".join(network.address(host) for host in hosts),
    }
    done = subprocess.run(
        ["sh", spool, *map(str, arguments)],
        env=environment | more, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.root
@needs("root", "network namespaces")
def test_slurm_hosts_give_the_weights_of_one(tmp_path: Path) -> None:
    spec = topology("fedavg", learners=2)
    with Network(HOSTS, "none", tmp_path) as network:
        code, said = slurm(tmp_path, network, written(tmp_path, spec))
        assert code == 0, said
        assert_weights_of_one_host(spec, tmp_path / "out", tmp_path)
        options = (tmp_path / "said").read_text(encoding="utf-8")
        assert options.startswith("--ntasks-per-node=1 --wait=60 sh -c")


@pytest.mark.root
@needs("root", "network namespaces")
def test_slurm_refuses_what_cannot_be_before_srun(tmp_path: Path) -> None:
    file = written(tmp_path, topology("fedavg", learners=2))
    with Network(HOSTS, "none", tmp_path) as network:
        code, said = slurm(tmp_path, network, file, SLURM_JOB_NUM_NODES="4")
    assert (code, said) == (2, "edgenet: 4 hosts for 3 nodes; ask for fewer by --nodes\n")
    assert not (tmp_path / "said").exists()


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    text = (ROOT / "launch" / "kubernetes.yaml").read_text(encoding="utf-8")
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def test_names_in_the_manifests_belong_together(manifests: dict[str, Any]) -> None:
    service, job = manifests["Service"], manifests["Job"]
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    environment = {each["name"]: each for each in container["env"]}
    labels = pod["metadata"]["labels"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= labels.items()
    assert manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    first = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert environment["MASTER_ADDR"]["value"] == first
    assert environment["MASTER_PORT"]["value"] == str(service["spec"]["ports"][0]["port"])
    count = str(job["spec"]["completions"])
    assert (str(job["spec"]["parallelism"]), environment["WORLD_SIZE"]["value"]) == (count, count)
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    assert volumes.keys() == {each["name"] for each in container["volumeMounts"]}
    claim = volumes["runs"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifests["PersistentVolumeClaim"]["metadata"]["name"]


def pod_environment(job: dict[str, Any], index: int, port: int) -> dict[str, str]:
    """A pod's environment, with what a cluster fills in: here all pods have one address."""
    cluster = {
        "metadata.annotations['batch.kubernetes.io/job-completion-index']": str(index),
        "status.podIP": "127.0.0.1",
    }
    found = {}
    for each in job["spec"]["template"]["spec"]["containers"][0]["env"]:
        source = each.get("valueFrom", {})
        if "fieldRef" in source:
            found[each["name"]] = cluster[source["fieldRef"]["fieldPath"]]
        else:
            found[each["name"]] = each.get("value", "a secret of the cluster")
    return found | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def test_pods_give_the_weights_of_one_host(manifests: dict[str, Any], tmp_path: Path) -> None:
    job = manifests["Job"]
    spec = topology("fedavg", learners=job["spec"]["completions"] - 1)
    mounts = {"/topology/topology.yaml": str(written(tmp_path, spec)), "/runs": str(tmp_path / "o")}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    arguments = [mounts.get(word, word) for word in container["args"]]
    entry = [sys.executable, "-m", "edgenet.worker"]  # launch/Dockerfile's
    assert '["python", "-m", "edgenet.worker"]' in (ROOT / "launch/Dockerfile").read_text("utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pods = [
        subprocess.Popen(
            [*entry, *arguments],
            env=os.environ | pod_environment(job, index, port),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for index in range(job["spec"]["completions"])
    ]  # fmt: skip
    try:
        said = [pod.communicate(timeout=150)[0] for pod in pods]
    finally:
        for pod in pods:
            pod.kill()
            pod.communicate()
    assert [pod.returncode for pod in pods] == [0] * len(pods), said
    assert_weights_of_one_host(spec, tmp_path / "o", tmp_path)
