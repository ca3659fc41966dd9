"""What a sweep file says of the peers: the models of `asha`, `tpe` and `bohb`, which draw as `random` does."""

from __future__ import annotations

from searcher.sweep_fields import Count, Factor, Pruner, WholeFactor
from searcher.sweep_strategies import RandomSpec


class AshaSpec(RandomSpec):
    """Random draws under Tune's ASHA, with Tune's defaults."""

    grace_epochs: Count = 1
    reduction_factor: Factor = 4.0


class TpeSpec(RandomSpec):
    """Optuna's TPE; `trials` is how often it is asked."""

    pruner: Pruner = "none"


class BohbSpec(RandomSpec):
    """Optuna's TPE within Hyperband; `trials` is how often it is asked. Optuna's defaults."""

    grace_epochs: Count = 1
    reduction_factor: WholeFactor = 3
