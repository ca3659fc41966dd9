"""The way to a cluster: its address, the token, and Ray's client, whose errors become one clear line here."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from searcher.errors import ExecutionError
from searcher.execution.token import read_token

ADDRESS = "RAY_API_SERVER_ADDRESS"
"""The variable, Ray's own, that holds the address where none is given."""

TIMEOUT = (5.0, 30.0)
"""Seconds to wait for a connection, and for the first byte of an answer."""


_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray's client that tell of every upload."""


@dataclass(frozen=True)
class Connection:
    """A cluster that answered and accepted the token.

    Attributes:
        address: of the dashboard, without a slash at its end.
        client: Ray's; call it inside `translated`.
        versions: what the cluster runs, by name: `ray`, `python`.
        protected: False for a cluster that asks for no token.
    """

    address: str
    client: JobSubmissionClient
    versions: dict[str, str]
    protected: bool

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET, with the token; anything but 200 is an ExecutionError."""
        with translated(self.address):
            answer = requests.get(
                self.address + path,
                headers=_headers(read_token()),
                verify=_authorities(),
                timeout=TIMEOUT,
                **options,
            )
        if answer.status_code != 200:
            raise ExecutionError(f"{self.address}{path} answered {answer.status_code}: {_line(answer.text)}")
        return answer


def connect(address: str | None = None, *, same_versions: bool = True) -> Connection:
    """Reaches a cluster and checks what a sweep would fail by later.

    Args:
        address: of the dashboard, e.g. `https://head:8265`; None: the variable RAY_API_SERVER_ADDRESS.
        same_versions: whether another Ray, or another minor version of Python, is refused.

    Raises:
        ExecutionError: nothing answers, the token is missing or wrong, or a version differs.
    """
    address = _checked_address(address or os.environ.get(ADDRESS))
    token = read_token()
    with translated(address):
        found = requests.get(
            f"{address}/api/v0/cluster_metadata",
            headers=_headers(token),
            verify=_authorities(),
            timeout=TIMEOUT,
        )
    if found.status_code in (401, 403):
        raise ExecutionError(_refused(address, found.status_code))
    try:
        metadata = found.json()["data"]
        versions = {"ray": str(metadata["rayVersion"]), "python": str(metadata["pythonVersion"])}
    except (ValueError, KeyError, TypeError):
        raise ExecutionError(
            f"address: no Ray dashboard is at {address}: it answered {found.status_code}, {_line(found.text)!r}"
        ) from None
    if same_versions:
        _check_versions(address, versions)
    protected = not _answers_without_token(address)
    return Connection(address, _client(address, token), versions, protected)


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Errors of Ray's client and of the network, each as an ExecutionError of one line."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise ExecutionError(
            f"address: {address}: the certificate is not trusted: {_reason(error)}; "
            "name its authority's file in REQUESTS_CA_BUNDLE"
        ) from error
    except (requests.exceptions.RequestException, ConnectionError) as error:
        raise ExecutionError(f"address: nothing answers at {address}: {_reason(error)}") from error
    except AuthenticationError as error:
        missing = "required" in str(error)
        raise ExecutionError(_refused(address, 401 if missing else 403)) from error
    except RuntimeError as error:
        raise ExecutionError(f"{address}: {_line(str(error))}") from error


def _client(address: str, token: str | None) -> JobSubmissionClient:
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Ray lets these variables overrule the address that it is given.
    overruling = {name: os.environ.pop(name) for name in (ADDRESS, "RAY_ADDRESS") if name in os.environ}
    try:
        with translated(address), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return JobSubmissionClient(address, headers=_headers(token), verify=_authorities())
    finally:
        os.environ.update(overruling)


def _checked_address(address: str | None) -> str:
    if not address:
        raise ExecutionError(f"address: none was given; use --address http://HOST:8265, or set {ADDRESS}")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ExecutionError(f"address: got '{address}'; must be http://HOST:PORT or https://HOST:PORT")
    if parts.username or parts.password or parts.query:
        raise ExecutionError("address: must hold no user, password or query; the token is read from a file")
    return address.rstrip("/")


def _check_versions(address: str, theirs: dict[str, str]) -> None:
    if theirs["ray"] != ray.__version__:
        raise ExecutionError(
            f"ray: {address} runs Ray {theirs['ray']}, this machine has {ray.__version__}: "
            f"pip install 'ray[default,tune]=={theirs['ray']}', or start the cluster with {ray.__version__}"
        )
    here = platform.python_version()
    if theirs["python"].split(".")[:2] != here.split(".")[:2]:
        raise ExecutionError(
            f"python: {address} runs Python {theirs['python']}, this machine {here}: "
            "use the same minor version on both, so that the same sweep gives the same numbers"
        )


def _answers_without_token(address: str) -> bool:
    with translated(address):
        answer = requests.get(f"{address}/api/jobs/", verify=_authorities(), timeout=TIMEOUT)
    return bool(answer.status_code == 200)


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _authorities() -> str | bool:
    """The file of certificate authorities; Ray's client hands it to both of its HTTP libraries."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True


def _refused(address: str, status: int) -> str:
    where = "RAY_AUTH_TOKEN, the file at RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token"
    if status == 401:
        return f"token: {address} asks for one and none was found in {where}"
    return f"token: {address} refuses the one that was found; it is looked for in {where}"


def _reason(error: BaseException) -> str:
    """The innermost cause, which says in a few words what its wrappers say in many."""
    while (inner := error.__cause__ or error.__context__ or getattr(error, "reason", None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    if isinstance(error, HTTPException):
        return "no web server is there; the dashboard's port is 8265 where none was chosen"
    return _line(str(error)) or type(error).__name__


def _line(text: str) -> str:
    """The first line that says something of a server's answer, which may be a whole traceback."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = lines[-1] if lines and lines[0].endswith("Traceback (most recent call last):") else " ".join(lines[:2])
    return told[:300]
