"""Throughput once everything is warm: fused as the carrier would choose, against one trial after another.

    python experiments/benchmarks/throughput/steady.py mnist1d_mlp --batch-size 32
    python experiments/benchmarks/throughput/steady.py --all

One process for each core does both in turns, all of them at the same time, so that each way has the whole machine
and the ratio of a round is measured side by side. Loading, measuring and compiling happen before the clock starts.
The last columns compare with the floor: floating-point operations over the peak of a matrix product, and bytes of
weights, gradients and moments over the bandwidth of a copy, both measured in the same processes at the same time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from searcher.algorithms.packing import Packing
from searcher.algorithms.schedules import complete
from searcher.algorithms.stopping import rule_from
from searcher.records import Configuration, Trial
from searcher.training.fused import run_trials
from searcher.training.loop import Run, run_trial, seeded
from searcher.training.measuring import packing_for
from searcher.training.tasks import load_task

OFFLINE = ("digits", "digits_resnet", "mnist1d", "mnist1d_mlp", "names_transformer")
STEPS_OF_A_SWEEP = 256 * 20 * 94  # 256 trials of 20 epochs of `mnist1d`, batch size 32
SECONDS = 4.0
"""About how long each way runs in each round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="?", default="mnist1d_mlp")
    parser.add_argument("--all", action="store_true", help="every offline task")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--optimizer", choices=["sgd", "adamw"], default="sgd")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the time of a fused step goes")
    arguments = parser.parse_args()
    cores = os.cpu_count() or 1
    print(f"{cores} cores, {platform.machine()}, torch {torch.__version__}, n = {arguments.repeats}")
    for task in OFFLINE if arguments.all else (arguments.task,):
        report(task, arguments, cores)


def report(task: str, arguments: argparse.Namespace, cores: int) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(cores), context.Queue()
    workers = [
        context.Process(target=work, args=(task, arguments, barrier, results, core == 0)) for core in range(cores)
    ]
    for worker in workers:
        worker.start()
    measured: list[dict[str, Any]] = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    packing: Packing = measured[0]["packing"]
    print(f"{task}, batch size {arguments.batch_size}, {arguments.optimizer}: {packing}")
    if not packing.fused:
        print("  trained one after another, so the ratio is 1 by construction")
        return
    alone, fused = (
        [sum(each) for each in zip(*(m[way] for m in measured), strict=True)] for way in ("alone", "fused")
    )
    ratios = [mine / theirs for mine, theirs in zip(fused, alone, strict=True)]
    flops = measured[0]["flops"] * statistics.mean(fused) / sum(m["peak"] for m in measured)
    moved = measured[0]["bytes"] * statistics.mean(fused) / sum(m["bandwidth"] for m in measured)
    print(
        f"  epochs of a trial per second, all cores: alone {told(alone)}, fused {told(fused)}\n"
        f"  ratio {told(ratios)}, lowest {min(ratios):.2f}\n"
        f"  of the floor: {flops:.0%} of the peak {sum(m['peak'] for m in measured) / 1e9:.0f} GFLOP/s, "
        f"{moved:.0%} of the bandwidth {sum(m['bandwidth'] for m in measured) / 1e9:.0f} GB/s",
        flush=True,
    )


def work(name: str, arguments: argparse.Namespace, barrier: Any, results: Any, first: bool) -> None:
    """One core's part."""
    torch.set_num_threads(1)
    task, rule, device = load_task(name), rule_from("off"), torch.device("cpu")
    steps = task.info(name).steps_per_epoch(arguments.batch_size)

    def trials(count: int, epochs: int) -> list[Trial]:
        configuration = complete(
            Configuration(
                lr=0.01, momentum=0.9, weight_decay=1e-4, batch_size=arguments.batch_size, schedule="step",
                optimizer=arguments.optimizer,
            )
        )  # fmt: skip
        return [
            Trial(task=name, strategy="s", configuration=configuration, seed=seed, length=epochs)
            for seed in range(count)
        ]

    packing = packing_for(task, trials(1, 1)[0], device, STEPS_OF_A_SWEEP, os.cpu_count() or 1)
    ways: dict[str, Callable[[int], object]] = {
        "alone": lambda epochs: [run_trial(task, one, rule, ignore, device) for one in trials(1, epochs)],
        "fused": lambda epochs: run_trials(task, trials(packing.width, epochs), rule, ignore, device, packing),
    }
    found: dict[str, Any] = {"packing": packing, "alone": [], "fused": []}
    if packing.fused:
        lengths = {}
        for way, run in ways.items():
            run(1)
            began = time.perf_counter()
            run(2)
            lengths[way] = max(2, round(2 * SECONDS / (time.perf_counter() - began)))
        for _ in range(arguments.repeats):
            for way, run in ways.items():
                barrier.wait()
                began = time.perf_counter()
                run(lengths[way])
                count = lengths[way] * (packing.width if way == "fused" else 1)
                found[way].append(count / (time.perf_counter() - began))
        barrier.wait()
        found |= floor(task, trials(1, 1)[0], steps)
        if arguments.profile and first:
            profile(lambda: ways["fused"](2))
    results.put(found)


def floor(task: Any, trial: Trial, steps: int) -> dict[str, float]:
    """Operations and bytes of an epoch of one trial, and what the core does of each in a second."""
    with seeded(0, torch.device("cpu")):
        run = Run(task, trial, torch.device("cpu"))
    inputs, targets = (part[: trial.configuration.batch_size] for part in task.train.on(torch.device("cpu")))
    with FlopCounterMode(display=False) as counter:
        run.step(inputs, targets, 0.0, 0.9)
    with FlopCounterMode(display=False) as evaluation, torch.no_grad():
        run.model(task.test.inputs)
    square, source, target = torch.randn(512, 512), torch.randn(1 << 24), torch.empty(1 << 24)
    # Read: weight, its gradient and moment; written: the same; and the gradient's and the forward pass's reading.
    parameters = sum(value.numel() for value in run.model.parameters())
    return {
        "flops": counter.get_total_flops() * steps + evaluation.get_total_flops(),
        "bytes": 8 * 4 * parameters * steps,
        "peak": 2 * 512**3 / fastest(lambda: torch.mm(square, square)),
        "bandwidth": 2 * 4 * len(source) / fastest(lambda: target.copy_(source)),
    }


def fastest(run: Callable[[], object], count: int = 30) -> float:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def profile(run: Callable[[], object]) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        run()
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=60))


def told(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} +- {statistics.stdev(values):.2f}"


def ignore(record: object) -> None:
    """What is measured here is not stored."""


if __name__ == "__main__":
    main()
