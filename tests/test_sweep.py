"""The sweep file: what is read from it, and the one line that answers each fault."""

# ruff: noqa: E501 (a row of a table stands on one line)

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from searcher._yaml import read_yaml, write_yaml
from searcher.algorithms.strategies.random import Choice, LogUniform, Uniform
from searcher.errors import SweepError
from searcher.sweep import GridSpec, OneCycleSpec, RandomSpec, load_sweep, parse_sweep

GOOD = """\
name: digits
task: digits
epochs: 20
seeds: [0, 1, 2]
strategies:
  - grid: {lr: [0.003, 0.03, 0.3], weight_decay: [0, 1e-5], momentum: [0.9], batch_size: [32, 128], schedule: step}
  - random:
      trials: 48
      lr: {loguniform: [1e-3, 1.0]}
      weight_decay: {choice: [0, 1e-4]}
      momentum: {uniform: [0.8, 0.99]}
      batch_size: {choice: [32, 128]}
      schedule: step
  - one_cycle: {weight_decay: [1e-3, 0], momentum: [0.85, 0.95], div_factor: 10, batch_size: 64}
stop: {overfit: off}
resources: {cpu: 1, gpu: 0}
results: results/
"""

FAULTS = [
    # what to replace, by what, and the whole line that must answer it (or, where it ends in "...", its beginning)
    ("epochs: 20", "epochs: 0", "epochs: got 0; must be a whole number from 1"),
    ("epochs: 20", "epochs: '20'", "epochs: got '20'; must be a whole number from 1"),
    ("epochs: 20", "epochs: true", "epochs: got True; must be a whole number from 1"),
    ("epochs: 20", "epochs: 20.0", "epochs: got 20.0; must be a whole number from 1"),
    ("epochs: 20", "epoch: 20", "epoch: unknown key; did you mean 'epochs'?"),
    ("epochs: 20", "", "epochs: missing; the length of a full training run, a whole number from 1"),
    ("epochs: 20", "epochs: 20\nepochs: 3", "line 4, column 1: the key 'epochs' is given twice"),
    ("epochs: 20", "7: 2\nepochs: 20", "line 3, column 1: a key must be text, got 7"),
    ("seeds: [0, 1, 2]", "seeds: 3", "seeds: got 3; must be a list"),
    ("seeds: [0, 1, 2]", "seeds: []", "seeds: got []; must not be empty"),
    ("seeds: [0, 1, 2]", "seeds: [4, 4]", "seeds: got [4, 4]; no value may stand in the list twice"),
    ("seeds: [0, 1, 2]", "seeds: [0, -1]", "seeds[1]: got -1; a seed must be a whole number from 0 to 2**32 - 1"),
    ("seeds: [0, 1, 2]", "seeds: [0, 1", "line 5, column 11: expected ',' or ']', but got ':'"),
    ("seeds: [0, 1, 2]", "seeds: &a [*a]", "line 4, column 8: ..."),
    ("seeds: [0, 1, 2]", "seeds: !!python/name:os.system ''", "line 4, column 8: the tag '!!python/name:os.system' is not allowed here"),
    ("seeds: [0, 1, 2]", "seeds: " + "[" * 5000, "nested too deeply"),
    ("seeds: [0, 1, 2]", "seeds: \x07", "line 4, column 8: the character '\\x07' is not allowed"),
    ("momentum: [0.9]", "momentun: [0.9]", "strategies[0].grid.momentun: unknown key; did you mean 'momentum'?"),
    ("momentum: [0.9]", "momentum: 1.0", "strategies[0].grid.momentum: got 1.0; a momentum must be at least 0 and less than 1"),
    ("schedule: step}", "schedule: step, precision: bfloat16}", "strategies[0].grid.precision: got 'bfloat16'; must be one of 32-true, bf16-mixed."),
    ("div_factor: 10,", "precision: 16-mixed,", "strategies[2].one_cycle.precision: got '16-mixed'; must be one of 32-true, bf16-mixed. Did you mean 'bf16-mixed'?"),
    ("lr: [0.003", "lr: [-0.1", "strategies[0].grid.lr[0]: got -0.1; a learning rate must be greater than 0"),
    ("lr: [0.003", "lr: [.nan", "strategies[0].grid.lr[0]: got nan; a learning rate must be greater than 0"),
    ("lr: [0.003", "lr: [.inf", "strategies[0].grid.lr[0]: got inf; a learning rate must be greater than 0"),
    ("lr: [0.003", "lr: [" + "9" * 400, "strategies[0].grid.lr[0]: got 9999..."),
    ("lr: [0.003", "lr: ['0.003'", "strategies[0].grid.lr[0]: got '0.003'; a learning rate must be greater than 0"),
    ("lr: [0.003", "lr: [[1]", "strategies[0].grid.lr[0]: got [1]; a learning rate must be greater than 0"),
    ("lr: [0.003", "lr: [0.3", "strategies[0].grid.lr: got [0.3, 0.03, 0.3]; no value may stand in the list twice"),
    ("weight_decay: [0, 1e-5]", "weight_decay: -1e-5", "strategies[0].grid.weight_decay: got -1e-05; a weight decay must be at least 0"),
    ("batch_size: [32", "batch_size: [0", "strategies[0].grid.batch_size[0]: got 0; a batch size must be a whole number from 1"),
    ("128], schedule: step", "128], schedule: stp", "strategies[0].grid.schedule: got 'stp'; must be one of ... Did you mean 'step'?"),
    ("128], schedule: step", "128], schedule: range_linear", "strategies[0].grid.schedule: got 'range_linear'; ..."),
    ("128], schedule: step", "128]", "strategies[0].grid.schedule: missing; the name of a schedule, such as step, cosine or one_cycle"),
    ("128], schedule: step", "128], schedule: step, cycles: 2", "strategies[0].grid.cycles: ...2"),
    ("128], schedule: step", "128], schedule: step, gamma: 7", "strategies[0].grid.gamma: ...7.0"),
    ("trials: 48", "trials: 0", "strategies[1].random.trials: got 0; must be a whole number from 1"),
    ("{loguniform: [1e-3, 1.0]}", "-0.1", "strategies[1].random.lr: got -0.1; a learning rate must be greater than 0"),
    ("{loguniform: [1e-3, 1.0]}", "{}", "strategies[1].random.lr: got {}; must have exactly one of loguniform, uniform, choice"),
    ("{loguniform: [1e-3, 1.0]}", "{choice: [0.1], uniform: [0.1, 1]}", "strategies[1].random.lr: got {'choice': [0.1], 'uniform': [0.1, 1.0]}; must ..."),
    ("{loguniform: [1e-3, 1.0]}", "[0.1, 0.2]", "strategies[1].random.lr: got [0.1, 0.2]; must be one value, or ..."),
    ("{loguniform", "{logunifrom", "strategies[1].random.lr.logunifrom: unknown key; did you mean 'loguniform'?"),
    ("[1e-3, 1.0]", "[1.0, 1e-3]", "strategies[1].random.lr.loguniform: got [1.0, 0.001]; must be [low, high] with low less than high"),
    ("[1e-3, 1.0]", "[1.0]", "strategies[1].random.lr.loguniform: got [1.0]; must be a list of two, [low, high]"),
    ("[1e-3, 1.0]", "[-1, 1.0]", "strategies[1].random.lr.loguniform[0]: got -1; a learning rate must be greater than 0"),
    ("{choice: [0, 1e-4]}", "{loguniform: [0, 1]}", "strategies[1].random.weight_decay.loguniform[0]: got 0; the low end of a loguniform must be greater than 0"),
    ("{choice: [32, 128]}", "{uniform: [32, 128]}", "strategies[1].random.batch_size.uniform: unknown key; the keys here are choice"),
    ("{choice: [32, 128]}", "{choice: [32, 1.5]}", "strategies[1].random.batch_size.choice[1]: got 1.5; a batch size must be a whole number from 1"),
    ("{choice: [32, 128]}", "[32, 128]", "strategies[1].random.batch_size: got [32, 128]; must be one value, or {choice: [...]}"),
    ("[0.85, 0.95]", "[0.95, 0.85]", "strategies[2].one_cycle.momentum: got [0.95, 0.85]; must be [low, high], low not above high"),
    ("[0.85, 0.95]", "0.9", "strategies[2].one_cycle.momentum: got 0.9; must be a list of two, [low, high]"),
    ("div_factor: 10", "div_factor: 1", "strategies[2].one_cycle.div_factor: ...1.0"),
    ("- random:", "- randon:", "strategies[1].randon: unknown key; did you mean 'random'?"),
    ("- one_cycle:", "- one_cycle:\n  - one_cycle:", "strategies[2].one_cycle: got nothing; must have exactly one of grid, random, one_cycle, asha, tpe, bohb, with its values"),
    ("- one_cycle:", "- asha\n  - one_cycle:", "strategies[2]: got 'asha'; must be a mapping of keys to values"),
    ("- grid:", "- one_cycle: {batch_size: 8}\n    grid:", "strategies[0]: got ['grid', 'one_cycle']; must have exactly one of ..."),
    ("- one_cycle:", "- grid: {lr: 1, batch_size: 8, schedule: step}\n  - one_cycle:", "strategies[2].grid.name: got 'grid'; ..."),
    ("task: digits", "task: my task", "task: got 'my task'; a task is a built-in name, my_package.my_module:make_task or ..."),
    ("name: digits", "name: a/b", "name: got 'a/b'; a name is made of up to 100 letters, ..."),
    ("name: digits", "name: ..", "name: got '..'; a name is made of up to 100 letters, ..."),
    ("gpu: 0", "gpu: 1.5", "resources.gpu: got 1.5; must be a share of one from 0 to 1, or a whole number"),
    ("cpu: 1", "cpu: 0", "resources.cpu: got 0; must be a number greater than 0"),
    ("overfit: off", "overfit: of", "stop.overfit: got 'of'; ... Did you mean 'off'?"),
    ("overfit: off", "overfit: {rises: 0}", "stop.overfit: got {'rises': 0}; ...0"),
    ("overfit: off", "overfit: {strip: 5}", "stop.overfit: got {'strip': 5}; rule 'default' has no parameter 'strip'; known: rises, ..."),
    ("overfit: off", "overfit: {rule: [up]}", "stop.overfit: got {'rule': ['up']}; must be default, off, ..."),
    ("overfit: off", '"over\\tfit": off', "stop.'over\\tfit': unknown key; did you mean 'overfit'?"),
    ("stop: {overfit: off}", "stop: off", "stop: got 'off'; must be a mapping of keys to values"),
    ("results: results/", "results: 3", "results: got 3; must be a text that is not empty"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line"), FAULTS)
def test_one_fault_is_answered_by_one_line(old: str, new: str, line: str) -> None:
    assert GOOD.count(old) == 1, "the table must change exactly one place"
    with pytest.raises(SweepError) as caught:
        parse_sweep(GOOD.replace(old, new))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    at = 0
    for number, part in enumerate(line.split("...")):
        found = message.find(part, at)
        assert found == 0 if number == 0 else found >= 0, message
        at = found + len(part)
    assert "..." in line or message == line


@pytest.mark.parametrize("text", ["", "[]", "3", "~", "text"])
def test_what_is_not_a_mapping_is_refused(text: str) -> None:
    with pytest.raises(SweepError, match=r"^the sweep: got .*; must be a mapping of keys to values$"):
        parse_sweep(text)


def test_two_faults_are_two_lines() -> None:
    with pytest.raises(SweepError) as caught:
        parse_sweep(GOOD.replace("epochs: 20", "epochs: 0").replace("gpu: 0", "gpu: -1"))
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["epochs", "resources.gpu"]


def test_a_good_sweep_is_read_as_it_is_written() -> None:
    sweep = parse_sweep(GOOD)
    assert (sweep.name, sweep.task, sweep.epochs, sweep.seeds) == ("digits", "digits", 20, (0, 1, 2))
    assert [(entry.kind, entry.label) for entry in sweep.strategies] == [
        ("grid", "grid"),
        ("random", "random"),
        ("one_cycle", "one_cycle"),
    ]
    grid, random, cycle = (entry.spec for entry in sweep.strategies)
    assert isinstance(grid, GridSpec)
    assert grid.axes() == {
        "batch_size": (32, 128),
        "momentum": (0.9,),
        "weight_decay": (0.0, 1e-5),
        "lr": (0.003, 0.03, 0.3),
    }
    assert isinstance(random, RandomSpec)
    assert random.distributions() == {
        "lr": LogUniform(1e-3, 1.0),
        "weight_decay": Choice((0.0, 1e-4)),
        "momentum": Uniform(0.8, 0.99),
        "batch_size": Choice((32, 128)),
    }
    assert isinstance(cycle, OneCycleSpec)
    assert (cycle.momentum, cycle.momentum_schedule, cycle.epochs) == ((0.85, 0.95), "cyclical", None)
    assert (sweep.stop.overfit, sweep.resources.cpu, sweep.results) == ("off", 1.0, "results/")


def test_a_single_value_is_a_list_of_one_and_a_name_is_a_label() -> None:
    text = """
    {name: a, task: "./my task.py:make", epochs: 1, seeds: [7], strategies: [
      {grid: {name: g, lr: 1, batch_size: 8, schedule: constant}},
      {random: {trials: 1, lr: 0.1, batch_size: 8, schedule: constant}}]}
    """
    grid, random = parse_sweep(text).strategies
    assert grid.label == "g"
    assert isinstance(grid.spec, GridSpec)
    assert grid.spec.axes() == {"batch_size": (8,), "momentum": (0.9,), "weight_decay": (0.0,), "lr": (1.0,)}
    assert isinstance(random.spec, RandomSpec)
    assert random.spec.distributions()["lr"] == Choice((0.1,))
    assert random.spec.distributions()["momentum"] == Choice((0.9,))


@pytest.mark.parametrize("task", ["digits", "pkg.mod:make", "mod:make", "./my_task.py:make", "/a b/t.py:make"])
def test_the_three_forms_of_a_task(task: str) -> None:
    assert parse_sweep(GOOD.replace("task: digits", f"task: {task}")).task == task


def test_more_trials_than_choices_make_are_refused() -> None:
    text = """
    {name: a, task: b, epochs: 1, seeds: [0], strategies: [{random:
      {trials: 5, lr: {choice: [0.1, 1]}, batch_size: {choice: [8, 16]}, schedule: constant}}]}
    """
    with pytest.raises(SweepError, match=r"^strategies\[0\]\.random\.trials: must be at most 4, .* got 5$"):
        parse_sweep(text)
    parse_sweep(text.replace("trials: 5", "trials: 4"))


OVERRIDES = [
    ("strategies.0.grid.momentum=[0.8,0.9]", "strategies[0].grid.momentum"),
    ("strategies[0].grid.momentum=0.8", "strategies[0].grid.momentum"),
    ("strategies.1.random.lr.loguniform.0=1e-4", "strategies[1].random.lr.loguniform"),
    ("epochs=3", "epochs"),
    ("stop.overfit=default", "stop.overfit"),
    ("seeds.2=9", "seeds"),
]


@pytest.mark.parametrize(("override", "path"), OVERRIDES)
def test_an_override_changes_its_field_and_no_other(override: str, path: str) -> None:
    assert parse_sweep(GOOD).differences(parse_sweep(GOOD, [override])) == [path]


def test_an_override_may_name_a_section_that_the_file_leaves_out() -> None:
    text = GOOD.replace("resources: {cpu: 1, gpu: 0}\n", "")
    assert parse_sweep(text, ["resources.cpu=2"]).resources.cpu == 2


def test_an_override_of_one_alias_leaves_the_other() -> None:
    text = "{name: a, task: b, epochs: 1, seeds: [0], strategies: [{grid: &g {name: x, lr: [1], batch_size: 1, schedule: step}}, {grid: *g}]}"
    sweep = parse_sweep(text, ["strategies.1.grid.name=y", "strategies.1.grid.lr.0=2"])
    assert [entry.spec.lr for entry in sweep.strategies if isinstance(entry.spec, GridSpec)] == [
        (1.0,),
        (2.0,),
    ]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("strategies.0.gird.lr=1", "strategies[0].gird: unknown key; did you mean 'grid'?"),
        ("epoch=3", "epoch: unknown key; did you mean 'epochs'?"),
        (
            "strategies.3.grid.lr=1",
            "--set strategies[3].grid.lr: strategies has 3 items, so the last index is 2",
        ),
        ("epochs", "--set epochs: must be PATH=VALUE, such as strategies.0.grid.lr=[0.1,0.2]"),
        ("=3", "--set =3: must be PATH=VALUE, such as strategies.0.grid.lr=[0.1,0.2]"),
        ("a..b=3", "--set a..b=3: must be PATH=VALUE, such as strategies.0.grid.lr=[0.1,0.2]"),
        ("stop.overfit.rule=x", "--set stop.overfit.rule: stop.overfit is 'off', which has no 'rule' in it"),
        ("epochs.0=3", "--set epochs[0]: epochs is 20, which has no '0' in it"),
        ("epochs=", "epochs: got nothing; must be a whole number from 1"),
        (
            "strategies.0.grid.lr.0=-1",
            "strategies[0].grid.lr[0]: got -1; a learning rate must be greater than 0",
        ),
    ],
)
def test_an_override_that_leads_nowhere_is_one_line(override: str, line: str) -> None:
    with pytest.raises(SweepError) as caught:
        parse_sweep(GOOD, [override])
    assert str(caught.value) == line


def test_an_override_whose_value_is_not_yaml() -> None:
    with pytest.raises(SweepError, match=r"^--set name=\[: the value is not YAML: line 1, column 2: [^\n]*$"):
        parse_sweep(GOOD, ["name=["])


def test_differences_name_added_and_removed_strategies_and_ignore_the_place_of_work() -> None:
    sweep = parse_sweep(GOOD)
    assert sweep.differences(parse_sweep(GOOD, ["results=elsewhere", "resources.gpu=1"])) == []
    fewer = parse_sweep(GOOD[: GOOD.index("  - one_cycle")] + GOOD[GOOD.index("stop:") :])
    assert sweep.differences(fewer) == ["strategies[2]"]
    assert fewer.differences(sweep) == ["strategies[2]"]


def test_the_same_sweep_written_in_two_ways_does_not_differ() -> None:
    other = GOOD.replace("momentum: [0.9]", "momentum: 0.9").replace("1e-5", "0.00001")
    assert parse_sweep(GOOD) == parse_sweep(other.replace("weight_decay: [0,", "weight_decay: [0.0,"))


@pytest.mark.parametrize(
    "overrides", [[], ["stop.overfit={hopeless: null, rises: 2}"], ["strategies.0.grid.milestones=[0.5]"]]
)
def test_a_sweep_written_out_reads_back_the_same(overrides: list[str]) -> None:
    sweep = parse_sweep(GOOD, overrides)
    assert parse_sweep(sweep.to_yaml()) == sweep


def test_faults_of_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: caf\u00e9".encode("latin-1"))
    (tmp_path / "torn.yaml").write_text("name: [")
    for name, fault in {
        "none.yaml": "there is no such file",
        ".": "is a folder, not a sweep file",
        "latin.yaml": "byte 9 is not UTF-8: 0xe9",
        "torn.yaml": "line 1, column 8: expected the node content, but found '<stream end>'",
    }.items():
        with pytest.raises(SweepError) as caught:
            load_sweep(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {fault}"


def test_a_file_is_read_with_a_byte_order_mark_and_foreign_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_sweep(path) == parse_sweep(GOOD)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("-.5", -0.5), ("3.", 3.0), ("+7", 7), ("010", 10), ("0x1F", 31),
        ("0o17", 15), ("1_000", "1_000"), ("off", "off"), ("No", "No"), ("y", "y"), ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"), ("True", True), ("null", None), ("~", None), ("", None), ("=", "="),
        ("1e", "1e"), (".", "."), ("'1'", "1"), (".inf", float("inf")), ("{a: [1, x]}", {"a": [1, "x"]}),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    read = read_yaml(text)
    assert (type(read), read) == (type(value), value)


_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_trees = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@settings(max_examples=150, deadline=None)
@given(_trees)
@example({"1e3": ["0o7", "off", "1_0", "\x85", "~"]})
def test_what_is_written_reads_back(value: object) -> None:
    assert read_yaml(write_yaml(value)) == value


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_sweep_or_a_sweep_error(text: str) -> None:
    with pytest.raises(SweepError):
        parse_sweep(text)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["name", "task", "epochs", "seeds", "strategies", "stop", "resources", "results"]), _trees)
def test_any_value_of_a_field_is_taken_or_refused_by_its_path(field: str, value: object) -> None:
    data = read_yaml(GOOD)
    try:
        parse_sweep({**data, field: value})
    except SweepError as error:
        for line in str(error).splitlines():
            assert line.startswith(field)


@pytest.mark.parametrize(("name", "least"), [("digits", 24), ("mnist1d", 48)])
def test_the_sweep_files_of_the_experiments(name: str, least: int) -> None:
    sweep = load_sweep(Path(__file__).parents[1] / "experiments" / f"{name}.yaml")
    assert (sweep.name, sweep.task, len(sweep.seeds)) == (name, name, 3)
    grid, random, cycle = (entry.spec for entry in sweep.strategies)
    assert isinstance(grid, GridSpec)
    assert math.prod(map(len, grid.axes().values())) >= least
    assert isinstance(random, RandomSpec)
    assert random.trials >= least
    assert isinstance(cycle, OneCycleSpec)


def test_a_sweep_of_another_precision_is_another_sweep() -> None:
    mixed = GOOD.replace("div_factor: 10,", "div_factor: 10, precision: bf16-mixed,")
    assert parse_sweep(mixed).differences(parse_sweep(GOOD)) == ["strategies[2].one_cycle.precision"]
    written_out = GOOD.replace("div_factor: 10,", "div_factor: 10, precision: 32-true,")
    assert not parse_sweep(written_out).differences(parse_sweep(GOOD))
