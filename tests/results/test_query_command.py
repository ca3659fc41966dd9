"""`searcher query` and `searcher compact` from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from result_examples import epoch, sweep_row, trial

from searcher.cli import main
from searcher.results import partition
from searcher.results.storage import open_files
from searcher.results.store import Store

SQL = "select epoch, test_loss, test_accuracy from epochs order by epoch"


@pytest.fixture
def folder(local_root: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A sweep of three epochs in three files; the last has diverged."""
    monkeypatch.setattr(partition, "ROWS_PER_FILE", 1)
    sweep = Store(local_root).begin(sweep_row())
    for number in (1, 2, 3):
        changes = {"test_loss": float("inf"), "test_accuracy": None} if number == 3 else {}
        sweep.write([epoch(trial(), number, **changes)])
        sweep.flush()
    sweep.close("interrupted")
    return local_root


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("source", ["argument", "file"])
def test_the_forms_of_an_answer(
    folder: str, source: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    question = tmp_path / "question.sql"
    question.write_text(f"-- in a file\n{SQL};\n")
    asked = [SQL] if source == "argument" else ["--file", str(question)]

    def answer(*options: str) -> bytes:
        assert call("query", *asked, "--results", folder, *options) == 0
        return capsysbinary.readouterr().out

    assert answer().split()[:3] == [b"epoch", b"test_loss", b"test_accuracy"]
    assert answer("--format", "csv").splitlines()[0::3] == [b"epoch,test_loss,test_accuracy", b"3,inf,"]
    rows = json.loads(answer("--format", "json"))
    assert rows[0] == {"epoch": 1, "test_loss": 2.0, "test_accuracy": 0.5}
    assert rows[2] == {"epoch": 3, "test_loss": None, "test_accuracy": None}
    (tmp_path / "piped.parquet").write_bytes(answer("--format", "parquet"))
    assert answer("--output", str(tmp_path / "written.parquet")) == b""
    for name in ("piped", "written"):
        assert pd.read_parquet(tmp_path / f"{name}.parquet").epoch.tolist() == [1, 2, 3]
    assert answer("--output", str(tmp_path / "written.csv")) == b""
    assert answer("--output", str(tmp_path / "other"), "--format", "csv") == b""
    assert (tmp_path / "other").read_bytes() == (tmp_path / "written.csv").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["query"], "give one query: SQL in quotes, or --file FILE"),
        (["query", "select 1", "--file", "x.sql"], "give one query"),
        (["query", "--file", "absent.sql"], "absent.sql: No such file"),
        (["query", "select 1", "--output", "answer.txt"], "answer.txt: must end in .csv, .json or .parquet"),
        (["query", "select 1", "--output", "a.csv", "--format", "table"], "must end in"),
        (["query", "select 1", "--output", "absent/a.csv"], "cannot write absent/a.csv: No such file"),
        (["query", "select nonsense from epochs", "--output", "a.csv"], "nonsense"),
        (["compact", "dem"], "there is no sweep 'dem'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    folder: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert call(*arguments, "--results", folder) == 2
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.strip().splitlines())) == ("", 1)
    assert words in captured.err
    assert not (tmp_path / "a.csv").exists()


def test_a_table_without_rows_is_its_head(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("query", "--results", folder, "select epoch, test_loss from epochs where epoch > 9") == 0
    assert capsys.readouterr().out == "epoch  test_loss\n"


def test_compact(folder: str) -> None:
    assert len(open_files(folder).list("epochs")) == 3
    assert call("compact", "demo", "--results", folder) == 0
    assert len(open_files(folder).list("epochs")) == 1
