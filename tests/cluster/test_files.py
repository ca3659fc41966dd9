"""The files that a cluster is started from, each checked by the strictest schema that can be had."""

import json
import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import botocore.session
import jsonschema
import kubernetes_validate
import pytest
import yaml
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

from searcher.execution.room import STARTABLE

ROOT = Path(__file__).parents[2]
FILES = ROOT / "cluster"
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "searcher/_version.py").read_text())[1]  # type: ignore[index]
IMAGE = f"REGISTRY/searcher:{VERSION}"


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FILES / name).read_text()))


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_ray_up_accepts_it_and_it_is_safe(name: str) -> None:
    [config] = load(name)
    validate_config(prepare_config(config))
    assert config["docker"]["image"] == IMAGE
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert any("chmod 600 ~/.ray/auth_token" in line for line in config["setup_commands"])
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        [start] = [line for line in config[key] if "ray start" in line]
        assert start.index("RAY_AUTH_MODE=token") < start.index("ray start")
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])
    [start] = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    types = config["available_node_types"]
    assert startable_in(start) == [{"count": types["gpu"]["max_workers"], "resources": types["gpu"]["resources"]}]
    assert types[config["head_node_type"]]["resources"]["CPU"] == 0
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["gpu"]["min_workers"] == 0 < types["gpu"]["max_workers"]


def startable_in(text: str) -> Any:
    """What a file tells `searcher` that its autoscaler may start."""
    found = re.search(STARTABLE + r"='(.*?)'", text)
    assert found
    return json.loads(found[1])


def test_aws_accepts_the_nodes_and_the_workers_are_spot() -> None:
    [config] = load("aws.yaml")
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    for node in config["available_node_types"].values():
        report = ParamValidator().validate(node["node_config"] | {"MinCount": 1, "MaxCount": 1}, shape)
        assert not report.has_errors(), report.generate_report()
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    nodes = {name: node["node_config"] for name, node in config["available_node_types"].items()}
    assert nodes["gpu"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in nodes["head"]


def test_gcp_workers_are_spot_and_deleted_when_they_are_taken() -> None:
    [config] = load("gcp.yaml")
    nodes = {name: node["node_config"] for name, node in config["available_node_types"].items()}
    assert nodes["gpu"]["scheduling"]["provisioningModel"] == "SPOT"
    assert nodes["gpu"]["scheduling"]["onHostMaintenance"] == "TERMINATE"  # no GPU can be moved
    assert "scheduling" not in nodes["head"]


def fields(**known: Any) -> dict[str, Any]:
    """The schema of an object that has these fields and no others."""
    return {"type": "object", "properties": known, "required": list(known), "additionalProperties": False}


def one_of(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


TEXT, COUNT, SWITCH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
POD = {"type": "object"}  # see `check_pod`
PARAMETERS = {"type": "object", "additionalProperties": TEXT}
CLUSTER = fields(
    rayVersion=TEXT,
    authOptions=fields(mode=one_of("disabled", "token"), secretName=TEXT),
    enableInTreeAutoscaling=SWITCH,
    autoscalerOptions=fields(
        version=one_of("v1", "v2"),
        idleTimeoutSeconds=COUNT,
        upscalingMode=one_of("Default", "Aggressive", "Conservative"),
        securityContext=POD,
    ),
    headGroupSpec=fields(serviceType=TEXT, rayStartParams=PARAMETERS, template=POD),
    workerGroupSpecs={
        "type": "array",
        "items": fields(
            groupName=TEXT, replicas=COUNT, minReplicas=COUNT, maxReplicas=COUNT, rayStartParams=PARAMETERS,
            template=POD,
        ),
    },
)  # fmt: skip
JOB = fields(
    entrypoint=TEXT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode"),
    backoffLimit=COUNT,
    shutdownAfterJobFinishes=SWITCH,
    ttlSecondsAfterFinished=COUNT,
    rayClusterSpec=CLUSTER,
)
"""Those of KubeRay's ray.io/v1 that we use: the operator drops a field that it does not know without a word.

Its CRD is in no package that a test could install. So this is written down from the types which the CRD is made
from, `ray-operator/apis/ray/v1` of ray-project/kuberay (as it is since it knows `authOptions.secretName`).
"""


@pytest.mark.parametrize(("name", "kind"), [("kuberay-cluster.yaml", "RayCluster"), ("kuberay-job.yaml", "RayJob")])
def test_kuberay_files_have_its_structure(name: str, kind: str) -> None:
    [resource, policy] = load(name)
    assert (resource["apiVersion"], resource["kind"]) == ("ray.io/v1", kind)
    kubernetes_validate.validate(policy, "1.34", strict=True)
    spec = resource["spec"]
    jsonschema.validate(spec, JOB if kind == "RayJob" else CLUSTER)
    if kind == "RayJob":
        assert spec["backoffLimit"] > 0
        assert spec["shutdownAfterJobFinishes"] is True
        assert "--resume" in spec["entrypoint"]  # a retry is a new cluster, which knows the results alone
        assert "results=s3://" in spec["entrypoint"]
        spec = spec["rayClusterSpec"]
    assert spec["rayVersion"] == PINS["ray"]
    assert spec["authOptions"] == {"mode": "token", "secretName": "searcher-ray-token"}
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    [workers] = spec["workerGroupSpecs"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]
    [head] = spec["headGroupSpec"]["template"]["spec"]["containers"]
    [told] = [entry["value"] for entry in head["env"] if entry["name"] == STARTABLE]
    assert json.loads(told) == [{"count": workers["maxReplicas"], "resources": {"CPU": 8, "GPU": 1}}]
    [container] = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["cpu"] == "8"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for group in (spec["headGroupSpec"], workers):
        check_pod(group["template"])


def check_pod(template: dict[str, Any]) -> None:
    pod = template["spec"]
    metadata = {"name": "pod"} | template.get("metadata", {})
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}
    kubernetes_validate.validate(whole, "1.34", strict=True)
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    for container in pod["containers"]:
        assert container["image"] == IMAGE
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_a_misspelt_key_of_a_pod_is_found() -> None:
    """The check above can fail."""
    [resource, _] = load("kuberay-cluster.yaml")
    template = resource["spec"]["headGroupSpec"]["template"]
    template["spec"]["restartPolice"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError, match="restartPolice"):
        check_pod(template)


def test_the_image_is_pinned_and_its_user_is_not_root() -> None:
    lines = (FILES / "Dockerfile").read_text().splitlines()
    [base] = [line for line in lines if line.startswith("FROM ")]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert base == f"FROM rayproject/ray:{PINS['ray']}-py{oldest.removeprefix('>=').replace('.', '')}"
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert not {"root", "0"} & set(users)
    assert any("pip install" in line and "-c constraints.txt" in line for line in lines)
    sources = [word for line in lines if line.startswith("COPY ") for word in line.split()[2:-1]]
    assert {source for source in sources if not (ROOT / source).exists()} == set()
    assert not [line for line in lines if line.startswith("ADD ")]
    assert "RAY_AUTH_MODE=token" in "\n".join(lines)


def test_no_file_holds_a_secret_or_opens_a_dashboard() -> None:
    for path in FILES.iterdir():
        text = path.read_text()
        assert not re.search(r"\b[0-9a-f]{32,}\b|AKIA[0-9A-Z]{16}|BEGIN .*PRIVATE KEY", text), path
        if "dashboard-host" in text and path.name != "kuberay-job.yaml":  # which the operator must reach
            assert "0.0.0.0" not in text, path


@pytest.mark.parametrize("name", ["local.sh", "slurm.sh"])
def test_scripts_are_shell_and_can_be_run(name: str) -> None:
    assert os.access(FILES / name, os.X_OK)
    subprocess.run(["bash", "-n", str(FILES / name)], check=True)


@pytest.mark.parametrize(("searcher_code", "starts", "expected"), [(0, True, 0), (130, True, 130), (0, False, 1)])
def test_the_slurm_script_answers_with_the_sweeps_own_exit_code(
    tmp_path: Path, searcher_code: int, starts: bool, expected: int
) -> None:
    """Slurm and Ray are stand-ins here that note what they are called with: `srun` answers 0 whatever happens."""
    bin, home = tmp_path / "bin", tmp_path / "home"
    bin.mkdir()
    home.mkdir()
    stand_ins = {
        "scontrol": "echo node1; echo node2",
        "srun": f'case $1 in --*) shift; {"true" if starts else "exit 0"} ;; esac; "$@"; exit 0',
        "ray": f'env | grep ^RAY_ >{tmp_path}/env; stat -c %a "$RAY_AUTH_TOKEN_PATH" >{tmp_path}/mode; '
        f'echo "$@" >{tmp_path}/ray; while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "searcher": f'echo "$@" >{tmp_path}/searcher; exit {searcher_code}',
    }
    for name, body in stand_ins.items():
        (bin / name).write_text(f"#!/bin/bash\n{body}\n")
        (bin / name).chmod(0o755)
    job = str(900_000 + os.getpid())
    environment = {
        "PATH": f"{bin}:{os.environ['PATH']}", "HOME": str(home),
        "SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2",
    }  # fmt: skip
    done = subprocess.run([str(FILES / "slurm.sh"), "sweep.yaml"], env=environment, cwd=tmp_path, text=True,
                          capture_output=True, timeout=30)  # fmt: skip
    assert done.returncode == expected, done.stderr
    assert not os.listdir(home), "the token is removed"
    assert not Path(f"/tmp/ray-{job}").exists()
    if not starts:
        assert "did not start" in done.stderr
        return
    port = 20000 + int(job) % 20000
    assert (tmp_path / "searcher").read_text() == f"run {tmp_path}/sweep.yaml --resume --address node1:{port}\n"
    assert f"symmetric-run --address node1:{port} --min-nodes 2" in (tmp_path / "ray").read_text()
    assert "RAY_AUTH_MODE=token" in (tmp_path / "env").read_text()
    assert (tmp_path / "mode").read_text() == "600\n"


def test_local_sh_makes_its_folder_and_token_private(cluster: Any) -> None:
    assert stat.S_IMODE(cluster.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(cluster.token_path.stat().st_mode) == 0o600
    assert len(cluster.token) == 64
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True).stdout.split()
    port = cluster.address.rpartition(":")[2]
    assert {word for word in listening if word.endswith(f":{port}")} == {f"127.0.0.1:{port}"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["start", "/tmp/a-folder-whose-name-is-far-too-long-for-a-socket"], "a socket's path allows 40"),
        (["start", "{folder}", "--wrokers", "2"], "unknown option '--wrokers'"),
        (["stop", "{folder}"], "holds no cluster"),
        (["worker", "{folder}", "w1"], "holds no cluster"),
    ],
)
def test_local_sh_refuses_with_one_line(words: list[str], told: str) -> None:
    folder = f"/tmp/sc-none-{os.getpid()}"
    done = subprocess.run([str(FILES / "local.sh"), *(word.format(folder=folder) for word in words)],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert told in done.stderr
    assert not Path(folder).exists()
