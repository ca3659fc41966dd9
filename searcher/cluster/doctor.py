"""`searcher cluster doctor`: what a sweep needs of a cluster, checked one by one, before a sweep needs it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from searcher.cluster.connection import Connection, connect
from searcher.cluster.submission import helper

SKEW_SECONDS = 5.0
"""Clocks may differ so much: locks on object storage are leases, which stand some 10 s."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `good` is None for what is neither: something to know."""

    what: str
    good: bool | None
    told: str


def examine(address: str | None = None, results: str | None = None) -> Iterator[Finding]:
    """Examines a cluster; the findings come as they are made.

    Args:
        results: an address or a shared folder that every node shall be able to write.

    Raises:
        ExecutionError: the cluster cannot be reached, refuses the token, or runs other versions than this machine.
    """
    connection = connect(address)
    told = ", ".join(f"{name} {version}" for name, version in connection.versions.items())
    yield Finding("versions", True, f"{told}, as here")
    yield _token(connection)
    yield _encryption(connection)
    yield _clock(connection)
    with helper(connection, ["checkup", *(["--results", results] if results else [])]) as sent:
        told_findings: list[dict[str, Any]] = sent.first("findings").values["findings"]
    yield from (Finding(**finding) for finding in told_findings)


def _token(connection: Connection) -> Finding:
    if connection.protected:
        return Finding("token", True, "asked for, and ours is accepted")
    return Finding(
        "token", False, "not asked for: whoever reaches the port can run code; start Ray with RAY_AUTH_MODE=token"
    )


def _encryption(connection: Connection) -> Finding:
    if sent_in_clear(connection.address):
        told = "http to another machine: the token can be read on the way; see docs/cluster.md"
        return Finding("encryption", False, told)
    if connection.address.startswith("https"):
        return Finding("encryption", True, "https, and the certificate is trusted")
    return Finding("encryption", True, "a loopback address: this machine, or a tunnel")


def sent_in_clear(address: str) -> bool:
    """Whether a token on its way to this address can be read by others."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    return parts.scheme == "http" and host not in ("localhost", "::1") and not host.startswith("127.")


def _clock(connection: Connection) -> Finding:
    before = time.time()
    answer = connection.get("/api/version")
    after = time.time()
    if "Date" not in answer.headers:
        return Finding("clock of the head", None, "the dashboard does not tell its time")
    # The header counts whole seconds.
    head = parsedate_to_datetime(answer.headers["Date"]).timestamp() + 0.5
    skew = head - (before + after) / 2
    told = f"{skew:+.0f} s against this machine, to about a second"
    return Finding("clock of the head", abs(skew) <= SKEW_SECONDS + 1, told)
