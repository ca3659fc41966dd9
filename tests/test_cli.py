"""The command line: what a user types, what comes back, and the exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from searcher.cli import main

HERE = Path(__file__).parent
SWEEP = {
    "name": "tiny-cli",
    "task": "tiny_task.py:make_task",
    "epochs": 3,
    "seeds": [0, 1],
    "strategies": [
        {"grid": {"lr": [0.01, 0.1], "batch_size": [48], "schedule": "step"}},
        {"one_cycle": {"weight_decay": [0.001], "batch_size": 48}},
    ],
    "stop": {"overfit": "off"},
}


@pytest.fixture(scope="module")
def sweep_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny_task.py").write_text((HERE / "tiny_task.py").read_text())
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(SWEEP | {"results": str(folder / "results")}))
    return file


@pytest.fixture(scope="module")
def results(ray_session: object, sweep_file: Path) -> str:
    assert call("run", str(sweep_file)) == 0
    return str(sweep_file.parent / "results")


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_validate_prints_the_plan_and_trains_nothing(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("validate", str(sweep_file), "--set", "strategies.0.grid.lr=[1e-3,0.01,0.1]") == 0
    plan = capsys.readouterr().out
    grid = next(line.split() for line in plan.splitlines() if line.lstrip().startswith("grid"))
    # 3 rates x 2 seeds, 3 epochs each, 144 training samples
    assert grid[1:4] == ["6", "18.0", str(18 * 144)]
    assert "about" in plan.splitlines()[-1]
    assert not (sweep_file.parent / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "absent.yaml"], "absent.yaml"),
        (["validate", "{sweep}", "--set", "strategies.0.grid.lr=[-1]"], "strategies[0].grid.lr"),
        (["validate", "{sweep}", "--set", "task=digit"], "Did you mean 'digits'"),
        (["run", "{sweep}", "--resume", "--overwrite"], "exclude each other"),
        (["compare", "nothing", "--results", "{folder}/absent"], "absent"),
        (["query", "select 1", "--results", "{folder}/absent"], "absent"),
        (["ls", "--results", "{folder}/absent"], "absent"),
        (["rum"], "No such command 'rum'"),
        (["run", "{sweep}", "--adress", "x"], "No such option"),
    ],
)
def test_bad_input_is_answered_by_one_line_and_exit_code_2(
    sweep_file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    filled = [text.format(sweep=sweep_file, folder=sweep_file.parent) for text in arguments]
    assert call(*filled) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert words in captured.err


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("digit", "Did you mean 'digits'"),
        ("./absent.py:make_task", "there is no file"),
        ("nowhere.tasks:make_task", "No module named 'nowhere'"),
        ("tiny_task.py:make_tsak", "Did you mean 'make_task'"),
        ("broken.py:make_task", "SyntaxError: invalid syntax (broken.py, line 2)"),
    ],
)
def test_a_mistake_in_a_task_is_told_before_ray_starts_or_pytorch_is_imported(
    sweep_file: Path, task: str, words: str, command: str
) -> None:
    (sweep_file.parent / "broken.py").write_text("import torch\nif so:: pass\n")
    program = (
        "import sys\nfrom searcher.cli import main\ntry:\n    main(sys.argv[1:])\nfinally:\n"
        "    print({'ray', 'torch'} & set(sys.modules))"
    )
    words_of_it = [command, str(sweep_file), "--set", f"task={task}"]
    found = subprocess.run(
        [sys.executable, "-c", program, *words_of_it], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout.strip()) == (2, "set()")
    assert words in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


def test_a_second_run_under_the_name_is_refused(
    results: str, sweep_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("run", str(sweep_file)) == 2
    error = capsys.readouterr().err
    assert "--resume" in error
    assert "--overwrite" in error


def test_compare_prints_the_table_and_json(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call("compare", "tiny-cli", "--results", results) == 0
    table = capsys.readouterr().out
    assert "grid" in table
    assert "one_cycle" in table
    assert call("compare", "tiny-cli", "--results", results, "--json") == 0
    rows = {row["strategy"]: row for row in json.loads(capsys.readouterr().out)["summaries"]}
    samples = pd.read_parquet(Path(results) / "trials").groupby("strategy", observed=True).samples.sum()
    assert {strategy: row["cost"]["samples"] for strategy, row in rows.items()} == samples.to_dict()


def test_query_and_ls(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    sql = "select strategy, count(*) as n from trials where kind = 'train' group by 1 order by 1"
    assert call("query", sql, "--results", results, "--format", "csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["strategy,n", "grid,4"]
    assert call("query", "select nonsense from trials", "--results", results) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert call("ls", "--results", results) == 0
    assert "tiny-cli" in capsys.readouterr().out


def test_compare_refuses_an_unknown_sweep(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call("compare", "tiny-clo", "--results", results) == 2
    assert "tiny-cli" in capsys.readouterr().err


def test_lr_find_prints_the_rules_and_draws_the_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "lr.png"
    task = f"{HERE}/tiny_task.py:make_task"
    assert call("lr-find", task, "--batch-size", "16", "--seeds", "1", "--plot", str(plot)) == 0
    assert "suggested peak of a cycle" in capsys.readouterr().out
    assert plot.exists()
    assert call("lr-find", task, "--ramp", "exp") == 2
    assert capsys.readouterr().err == "ramp: must be exponential or linear, got 'exp'.\n"


def test_the_readmes_task_of_less_than_twenty_lines_finds_a_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (HERE.parent / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert len(code.splitlines()) <= 20
    (tmp_path / "my_task.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    assert call("lr-find", "./my_task.py:make_task", "--seeds", "1", "--plot", "lr.png") == 0
    assert "suggested peak of a cycle" in capsys.readouterr().out
    assert Path("lr.png").exists()


def test_explain_tells_the_story(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("explain", "tiny-cli", "--results", results) == 0
    told = capsys.readouterr().out
    assert "1. range test, weight decay 0.001, seed 0" in told
    assert "chosen: peak" in told
    assert call("explain", "tiny-cli", "--results", results, "--strategy", "one") == 2
