"""A grid as Ray Tune's PyTorch tutorial would write it: what `searcher` is measured against.

A new actor for each trial, the data loaded in each, a `DataLoader`, `StepLR`, and `tune.report` every epoch; only
the model, the splits and the grid are the task's. `--reuse-actors` sets the one option that a reader of the
manual would add.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile

import ray
import torch
from ray import tune
from torch.utils.data import DataLoader, TensorDataset

from searcher.training.tasks import load_task


def train(config: dict) -> None:
    torch.manual_seed(0)
    task = load_task(config["task"])
    model = task.model()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config["lr"], momentum=config["momentum"], weight_decay=config["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [config["epochs"] // 2, config["epochs"] * 3 // 4], gamma=0.1
    )
    train_set = TensorDataset(task.train.inputs, task.train.targets)
    test_set = TensorDataset(task.test.inputs, task.test.targets)
    train_loader = DataLoader(train_set, batch_size=config["batch_size"], shuffle=True)
    test_loader = DataLoader(test_set, batch_size=config["batch_size"])

    for _ in range(config["epochs"]):
        model.train()
        train_loss = 0.0
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = task.loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(inputs)
        schedule.step()

        model.eval()
        test_loss, right = 0.0, 0
        with torch.no_grad():
            for inputs, targets in test_loader:
                output = model(inputs)
                test_loss += task.loss(output, targets).item() * len(inputs)
                right += (output.argmax(1) == targets).sum().item()
        tune.report(
            {
                "train_loss": train_loss / len(train_set),
                "test_loss": test_loss / len(test_set),
                "test_accuracy": right / len(test_set),
            }
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=json.loads, help="JSON: task, epochs, and lists for the hyper-parameters")
    parser.add_argument("--reuse-actors", action="store_true")
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    space = {
        name: tune.grid_search(value) if isinstance(value, list) else value
        for name, value in arguments.grid.items()
    }
    ray.init(include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as storage:
        results = tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(metric="test_loss", mode="min", reuse_actors=arguments.reuse_actors),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
        print(json.dumps({"trials": len(results), "best": results.get_best_result().metrics["test_loss"]}))


if __name__ == "__main__":
    main()
