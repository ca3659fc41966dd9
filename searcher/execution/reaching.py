"""The way to a Ray: the one that is there, one at an address, whose token is checked first, or one of our own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import gcs_service_pb2 as messages
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.exceptions import AuthenticationError

from searcher.errors import ExecutionError
from searcher.execution.token import read_token

ANSWER_SECONDS = 10.0
"""How long a Ray may take to answer the first, small question."""


@contextmanager
def connected(address: str | None, **more: Any) -> Iterator[None]:
    """Ray is there inside: the one that runs already, the one at the address, or one of our own.

    Args:
        more: options of `ray.init`.

    Raises:
        ExecutionError: nothing answers at the address, it refuses our token, or others can read that.
    """
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_reachable(where, given=address is not None)
    options = more | ({"include_dashboard": False} if where == "local" else {})
    _init(where, **options)
    try:
        yield
    finally:
        ray.shutdown()


def start_here() -> None:
    """Starts a Ray of our own on this machine.

    Raises:
        ExecutionError: it does not come up.
    """
    _init("local", include_dashboard=False)


def _init(where: str, **options: Any) -> None:
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(where, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=True, **options)
    except AuthenticationError as error:
        raise ExecutionError(_refused(where)) from error
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ExecutionError(f"address: no Ray answers at '{where}': {_line(str(error))}") from error
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray puts its own in place, by which a run would end as failed


def _check_reachable(where: str, given: bool) -> None:
    """Ray itself would try for minutes where nobody listens, and for half a minute with a wrong token.

    Raises:
        ExecutionError: it is an address at which no Ray listens, or none at all; Ray refuses our token, or others
            can read the file of a token that is to be shown at an address which was given.
    """
    if where in ("local", "auto") or where.startswith("ray://"):
        return
    host, colon, port = where.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        raise ExecutionError(f"address: got '{where}'; must be HOST:PORT of a Ray, such as head:6379")
    if given and os.environ.get("RAY_AUTH_MODE") == "token":
        read_token()
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ExecutionError(f"address: no Ray answers at '{where}': {error}") from error
    _ask(where)


def _ask(where: str) -> None:
    """The smallest question there is: which of these (no) nodes are alive? With our token, if we have one."""
    try:
        with init_grpc_channel(where) as channel:
            NodeInfoGcsServiceStub(channel).CheckAlive(messages.CheckAliveRequest(), timeout=ANSWER_SECONDS)
    except AuthenticationError as error:
        raise ExecutionError(_refused(where)) from error
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            raise ExecutionError(_refused(where)) from error
        told = f"{error.code().name}: {error.details()}"
        if "http1.x server" in told:
            told = "a web server is there, such as a dashboard; Ray's own port is 6379 where none was chosen"
        raise ExecutionError(f"address: no Ray answers at '{where}': {_line(told)}") from error


def _refused(where: str) -> str:
    return (
        f"token: the Ray at '{where}' refuses this machine's, or none was found; with RAY_AUTH_MODE=token it is "
        "looked for in RAY_AUTH_TOKEN, the file at RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token"
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
