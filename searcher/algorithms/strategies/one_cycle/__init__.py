"""The one-cycle method: range tests, short cycles that confirm what they suggest, moves, and the final cycles.

method.py        reads from top to bottom: what is measured, in which order, and what follows
measurements.py  what was measured and what it cost, read from the history
budget.py        what may be spent, in epochs, samples, seconds or money
trials.py        the trials that the method asks for
range_tests.py   what several range tests say together: a weight decay, and where the peak is looked for
peak.py          the walk to the peak of the cycle
moves.py         what to change next, by the diagnosis of the best cycle so far
"""

from searcher.algorithms.strategies.one_cycle.strategy import OneCycle

__all__ = ["OneCycle"]
