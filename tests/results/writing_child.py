"""A process that writes a sweep until it is killed: python writing_child.py ROOT."""

import sys
import time

from result_examples import ending, epoch, sweep_row, trial

from searcher.results import objects, writer
from searcher.results.store import Store

objects.SETTLE_SECONDS = 0.02
writer.FLUSH_SECONDS = 0.1

with Store(sys.argv[1]).begin(sweep_row()) as sweep:
    for seed in range(40):
        for number in (1, 2, 3):
            sweep.write([epoch(trial(seed), number)])
            time.sleep(0.02)
        sweep.write([ending(trial(seed))])
    time.sleep(60)
