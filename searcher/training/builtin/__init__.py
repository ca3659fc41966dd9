"""The built-in tasks, one module for each kind of data; `searcher.training.tasks.BUILT_IN` names them.

Those of `images`, `signals` and `text` come with a package or are generated, so they need no network. Splits are
fixed by a seed and stratified: a fifth is the test split, a fifth the holdout.
"""

from searcher.training.builtin.images import digits
from searcher.training.builtin.signals import mnist1d, mnist1d_mlp

__all__ = ["digits", "mnist1d", "mnist1d_mlp"]
