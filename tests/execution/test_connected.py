"""An address at which no Ray is: one line, at once."""

import socket
from pathlib import Path

import pytest

import searcher
from searcher.errors import ExecutionError
from searcher.execution.reaching import connected


@pytest.fixture(autouse=True)
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Ray of another test's; and Ray turns authentication on in a process where it once found a token."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("head", r"address: got 'head'; must be HOST:PORT"),
        ("http://127.0.0.1:8265", r"address: got 'http://127.0.0.1:8265'; must be HOST:PORT"),
        ("127.0.0.2:99999", r"address: no Ray answers at '127.0.0.2:99999'"),
        ("127.0.0.2:{free}", r"address: no Ray answers at '127.0.0.2:\d+': .*refused"),
    ],
)
def test_no_ray_is_there(address: str, told: str) -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(ExecutionError, match=told), connected(address.format(free=free)):
        pytest.fail("connected")


def test_a_token_that_others_can_read_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("f" * 64)
    token.chmod(0o640)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    with pytest.raises(ExecutionError, match=f"chmod 600 {token}"), connected("127.0.0.2:6379"):
        pytest.fail("connected")


def test_a_sweep_for_a_cluster_that_is_not_there_is_not_begun(tmp_path: Path) -> None:
    grid = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0, "batch_size": 48, "schedule": "step"}
    sweep = searcher.parse_sweep({
        "name": "never", "task": "tiny_task.py:make_task", "epochs": 1, "seeds": [0],
        "strategies": [{"grid": grid}], "results": str(tmp_path / "results"),
    })  # fmt: skip
    with pytest.raises(ExecutionError, match="no Ray answers at"):
        searcher.run(sweep, Path(__file__).parents[1], address="127.0.0.2:1")
    assert not (tmp_path / "results/sweeps").exists()
