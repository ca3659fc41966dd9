"""Dominant resource fairness, by hand."""

import pytest

from searcher.algorithms.fair_share import Claim, fair_shares

ANY = 1000
CPU, GPU = {"CPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("total", "claims", "shares"),
    [
        ({"CPU": 8}, [Claim(CPU, ANY)], [8]),
        ({"CPU": 8}, [Claim(CPU, ANY), Claim(CPU, ANY)], [4, 4]),
        ({"CPU": 7}, [Claim(CPU, ANY), Claim(CPU, ANY)], [4, 3]),
        ({"CPU": 8}, [Claim(CPU, 1), Claim(CPU, ANY)], [1, 7]),
        ({"CPU": 8}, [Claim(CPU, 0), Claim(CPU, ANY)], [0, 8]),
        # Twice the processors, half the carriers.
        ({"CPU": 8}, [Claim({"CPU": 2.0}, ANY), Claim(CPU, ANY)], [2, 4]),
        # Who wants GPUs leaves the processors that it does not need.
        ({"CPU": 32, "GPU": 4}, [Claim(GPU, ANY), Claim(CPU, ANY)], [4, 28]),
        ({"CPU": 8, "GPU": 2}, [Claim({"CPU": 1.0, "GPU": 0.5}, ANY), Claim(GPU, ANY)], [2, 1]),
        # The paper's example: 9 processors, 18 GB; tasks of 1 and 4, and of 3 and 1.
        ({"CPU": 9, "GB": 18}, [Claim({"CPU": 1, "GB": 4}, ANY), Claim({"CPU": 3, "GB": 1}, ANY)], [3, 2]),
        ({"CPU": 2}, [Claim(CPU, ANY)] * 3, [1, 1, 0]),
        ({"CPU": 2}, [Claim(GPU, ANY), Claim(CPU, ANY)], [0, 2]),
        ({"CPU": 1}, [Claim({"CPU": 0.1}, ANY)], [10]),
    ],
)  # fmt: skip
def test_shares(total: dict[str, float], claims: list[Claim], shares: list[int]) -> None:
    assert fair_shares(total, claims) == shares
