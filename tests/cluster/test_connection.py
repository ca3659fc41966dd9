"""The way to a cluster through what stands between: TLS, and connections that break."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from local_cluster import LocalCluster

from searcher.cluster import connect, tailing
from searcher.cluster.connection import Connection
from searcher.cluster.doctor import sent_in_clear
from searcher.cluster.messages import PREFIX, Message, heard
from searcher.cluster.tailing import tail
from searcher.errors import ExecutionError

LINES = [f"line {number} of the log" for number in range(1, 301)]


class Proxy:
    """Passes connections on to a port, each in threads of its own.

    Args:
        context: makes it speak TLS to its clients.
        cuts: so many connections of websockets break after 2,000 bytes to the client.
        silently: they stay open and nothing comes.
    """

    def __init__(
        self, port: int, context: ssl.SSLContext | None = None, cuts: int = 0, silently: bool = False
    ) -> None:
        self._silently = silently
        self._target = port
        self._context = context
        self.cuts_left = cuts
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            if self._context:
                client = self._context.wrap_socket(client, server_side=True)
            request = client.recv(65536)
            left = None
            if b"/logs/tail" in request and self.cuts_left:
                self.cuts_left -= 1
                left = 2000
            server.sendall(request)
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
            while data := server.recv(1000):
                client.sendall(data)
                if left is not None and (left := left - len(data)) < 0:
                    if self._silently:
                        time.sleep(5)
                    break
            client.shutdown(socket.SHUT_RDWR)  # `close` would wait for the other thread

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)


@contextmanager
def proxy(
    cluster: LocalCluster, context: ssl.SSLContext | None = None, cuts: int = 0, silently: bool = False
) -> Iterator[Proxy]:
    started = Proxy(int(cluster.address.rpartition(":")[2]), context, cuts, silently)
    yield started
    started.close()


@pytest.fixture
def token(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token_path))


@pytest.fixture(scope="module")
def logged(cluster: LocalCluster) -> str:
    """The id of a job that writes the lines, and is still there for the first that follows it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_AUTH_TOKEN", raising=False)
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token_path))
        client = connect(cluster.address).client
        return str(client.submit_job(entrypoint="seq -f 'line %.0f of the log' 300; sleep 2"))


def test_a_connection_that_fell_silent_is_made_anew(
    cluster: LocalCluster, token: None, logged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailing, "SILENCE", 0.5)
    with proxy(cluster, cuts=2, silently=True) as between:
        assert lines_of(connect(f"http://127.0.0.1:{between.port}"), logged) == LINES
        assert between.cuts_left == 0


def test_a_job_that_a_new_head_has_forgotten_is_not_waited_for(cluster: LocalCluster, token: None) -> None:
    with pytest.raises(
        ExecutionError, match=r"job a.1: http.* does not know it any more: .*submit SWEEP.yaml --resume"
    ):
        lines_of(connect(cluster.address), "a.1")


def lines_of(connection: Connection, submission_id: str) -> list[str]:
    return [line for line in tail(connection, submission_id) if line.startswith("line ")]


def test_a_log_is_followed_over_lost_connections_and_each_line_comes_once(
    cluster: LocalCluster, token: None, logged: str
) -> None:
    with proxy(cluster, cuts=3) as between:
        assert lines_of(connect(f"http://127.0.0.1:{between.port}"), logged) == LINES
        assert between.cuts_left == 0


def test_https_is_spoken_to_a_certificate_that_is_trusted_and_to_no_other(
    cluster: LocalCluster, token: None, logged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_certificate(tmp_path / "certificate.pem"))
    with proxy(cluster, context) as between:
        address = f"https://127.0.0.1:{between.port}"
        with pytest.raises(ExecutionError, match=r"certificate is not trusted: .*REQUESTS_CA_BUNDLE"):
            connect(address)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
        connection = connect(address)
        assert connection.protected
        assert lines_of(connection, logged) == LINES


def write_certificate(path: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "head")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + private)
    return path


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:8265", False),
        ("http://127.8.0.2:8265", False),
        ("http://localhost:8265", False),
        ("http://[::1]:8265", False),
        ("https://head:8265", False),
        ("http://head:8265", True),
        ("http://10.0.0.1:8265", True),
    ],
)
def test_a_token_is_sent_in_clear_only_to_another_machine_without_tls(address: str, expected: bool) -> None:
    assert sent_in_clear(address) is expected


def test_only_whole_messages_are_heard() -> None:
    assert heard(f'{PREFIX}{{"kind":"done"}}') == Message("done", {})
    assert heard(f'{PREFIX}{{"kind":"error","text":"no') is None
    assert heard("done") is None
