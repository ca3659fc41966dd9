"""When to stop a training run: rules that judge a trial from its own losses, report by report.

`decide` folds a stored curve, a scheduler calls `Rule.judge` for each report: both give the same verdict.
"""

from searcher.algorithms.stopping.base import Observation, Rule, decide
from searcher.algorithms.stopping.leaders import Leaders
from searcher.algorithms.stopping.overfit import Overfit
from searcher.algorithms.stopping.prechelt import GeneralizationLoss, ProgressQuotient, UpCrossing
from searcher.algorithms.stopping.registry import RULES, rule_from
from searcher.algorithms.stopping.simple import Never, Patience

__all__ = [
    "RULES",
    "GeneralizationLoss",
    "Leaders",
    "Never",
    "Observation",
    "Overfit",
    "Patience",
    "ProgressQuotient",
    "Rule",
    "UpCrossing",
    "decide",
    "rule_from",
]
