"""The batch size: the largest that the hardware holds and makes use of, and with which a cycle has enough updates.

Source: Smith, arXiv:1803.09820, section 4.2: use as large a batch as the memory holds, as it allows a larger
learning rate. On a CPU memory is no bound: there a batch need not be larger than where the throughput levels off.
"""

from __future__ import annotations

from collections.abc import Sequence

from searcher.records import StepRecord

UPDATES = 4000
"""A longest cycle should have so many updates: with fewer, a task of a thousand samples is trained worse."""

SMALLEST = 32
"""No bound on the updates asks for less than this; memory may."""

LARGEST = 65_536

HEADROOM = 0.8
"""The fraction of a device's memory that a batch may take, as other trials and fragments need some."""

KNEE = 0.9
"""On a CPU: the smallest batch with at least this fraction of the best throughput."""


def largest_useful(train_size: int, epochs: int) -> int:
    """The largest power of two with which a cycle of `epochs` has `UPDATES` updates, and at least `SMALLEST`.

    Never more than the split has samples.
    """
    bound = min(max(train_size * epochs // UPDATES, SMALLEST), LARGEST, train_size)
    return 1 << (bound.bit_length() - 1)


def sizes_up_to(largest: int) -> list[int]:
    """The powers of two that a probe tries, rising from `SMALLEST`, or `largest` where that is less."""
    size, sizes = min(SMALLEST, largest), []
    while size <= largest:
        sizes.append(size)
        size *= 2
    return sizes


def fits(tried: StepRecord) -> bool:
    """Whether the device holds this size with head-room."""
    return tried.seconds is not None and (tried.memory is None or tried.memory <= HEADROOM)


def choose_batch_size(tried: Sequence[StepRecord], largest: int) -> tuple[int, str] | None:
    """The batch size that a probe found, and why; None where the device held not one.

    Args:
        tried: one record for each size; those of a GPU say how much of its memory was used.
        largest: see `largest_useful`: the probe tried nothing above it.
    """
    held = sorted((one for one in tried if fits(one)), key=lambda one: one.batch_size or 0)
    if not held:
        return None
    top = held[-1]
    assert top.batch_size is not None
    bound = f"with {largest} the longest cycle keeps its updates"
    if top.memory is not None:
        if top.batch_size == largest:
            return largest, f"batch size {largest}: {bound}, and it takes {top.memory:.0%} of the memory"
        return top.batch_size, (
            f"batch size {top.batch_size}: it takes {top.memory:.0%} of the memory, twice as much leaves less than "
            f"{1 - HEADROOM:.0%} of it"
        )
    speeds = {one.batch_size: one.batch_size / one.seconds for one in held if one.batch_size and one.seconds}
    best = max(speeds.values())
    size = min(size for size, speed in speeds.items() if speed >= KNEE * best)
    told = ", ".join(f"{size}: {speed:,.0f}" for size, speed in speeds.items())
    why = "the smallest near the best throughput" if size < largest else f"the best throughput, and {bound}"
    return size, f"batch size {size}: {why} (samples a second {told})"
