"""How many carriers each of several sweeps may have on one cluster: dominant resource fairness.

Ghodsi et al., NSDI 2011: the next carrier goes, again and again, to the sweep whose dominant share is the least,
that is the largest of the fractions which it has of any one resource. So a sweep of GPUs and one of CPUs hardly
disturb each other, and what one does not want the others get.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """What a sweep asks of a cluster.

    Attributes:
        needs: of one carrier, by resource, such as `{"CPU": 1, "GPU": 0.5}`.
        wants: carriers that it could use at the most.
    """

    needs: Mapping[str, float]
    wants: int


def fair_shares(total: Mapping[str, float], claims: Sequence[Claim]) -> list[int]:
    """The number of carriers for each claim; at equal shares the earlier claim comes first.

    Args:
        total: what the cluster has, by resource.
    """
    left, given = dict(total), [0] * len(claims)
    open_ = [number for number, claim in enumerate(claims) if claim.wants > 0 and any(claim.needs.values())]
    while open_:
        number = min(open_, key=lambda one: (_dominant(total, claims[one].needs, given[one]), one))
        needs = claims[number].needs
        # A millionth of room for sums of fractions.
        if given[number] == claims[number].wants or any(
            left.get(it, 0) + 1e-6 < much for it, much in needs.items()
        ):
            open_.remove(number)
            continue
        given[number] += 1
        for name, amount in needs.items():
            left[name] -= amount
    return given


def _dominant(total: Mapping[str, float], needs: Mapping[str, float], carriers: int) -> float:
    return max(carriers * amount / total[name] if total.get(name) else 0.0 for name, amount in needs.items())
