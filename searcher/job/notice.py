"""What runs beside Ray on a node that may be taken away: hears of it from the cloud, and tells Ray.

Ray then gives the node no new work, and its trials save themselves, see `searcher.execution.notice`.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import requests

from searcher.errors import ExecutionError

log = logging.getLogger(__name__)

LOOK_EVERY = 3.0
"""Seconds between two questions to the cloud."""

LEFT_SECONDS = {"aws": 110, "gcp": 25, "now": 25}
"""How long a node lives on after its notice: two minutes, half a minute, a pod's usual grace; less some."""


def give_notice(cloud: str, node: str | None = None) -> None:
    """Waits for the cloud's notice, then lets the node drain; blocks.

    Args:
        cloud: `aws`, `gcp`, or `now` where the notice is that this was called: in a pod that is told to end.
        node: the address of this machine's node; None: the one that Ray finds.

    Raises:
        ExecutionError: Ray is not here, or refuses.
    """
    while not heard(cloud):
        time.sleep(LOOK_EVERY)
    _drain(LEFT_SECONDS[cloud], node)


def _drain(seconds: int, address: str | None) -> None:
    import ray
    from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION

    from searcher.execution.reaching import connected

    options: dict[str, Any] = {"_node_ip_address": address} if address else {}
    with connected("auto" if "RAY_ADDRESS" not in os.environ else None, **options):
        node = ray.get_runtime_context().get_node_id()
        deadline = int(1000 * (time.time() + seconds))
        accepted, refusal = ray._private.worker.global_worker.gcs_client.drain_node(
            node, DRAIN_NODE_REASON_PREEMPTION, "the machine is about to be taken away", deadline
        )
    if not accepted:
        raise ExecutionError(f"node {node}: Ray does not let it drain: {refusal}")


def heard(cloud: str) -> bool:
    """Whether the cloud says that this machine is about to be taken away; a cloud that is silent says nothing."""
    try:
        return cloud == "now" or {"aws": _aws, "gcp": _gcp}[cloud]()
    except requests.RequestException as error:
        log.warning("the cloud does not say whether this machine stays: %s", error)
        return False


def _aws() -> bool:
    """Amazon EC2, instance metadata version 2: an action is there from two minutes before it is taken."""
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
    token = requests.put(
        f"{base}/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}, timeout=2
    ).text
    answer = requests.get(
        f"{base}/latest/meta-data/spot/instance-action", headers={"X-aws-ec2-metadata-token": token}, timeout=2
    )
    return bool(answer.status_code == 200)


def _gcp() -> bool:
    """Google Compute Engine: TRUE from half a minute before the machine is stopped."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    answer = requests.get(
        f"http://{host}/computeMetadata/v1/instance/preempted", headers={"Metadata-Flavor": "Google"}, timeout=2
    )
    return bool(answer.status_code == 200 and answer.text.strip() == "TRUE")
