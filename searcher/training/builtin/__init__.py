"""The built-in tasks, one module for each kind of data; `searcher.training.tasks.BUILT_IN` names them.

The data of `images`, `signals` and `text` come with a package or are generated, so they need no network: a fifth is
the test split and a fifth the holdout. Those of `downloaded` keep the published split as their holdout. All splits
are fixed by a seed and, but for text, stratified.
"""

from searcher.training.builtin.images import digits
from searcher.training.builtin.signals import mnist1d, mnist1d_mlp

__all__ = ["digits", "mnist1d", "mnist1d_mlp"]
