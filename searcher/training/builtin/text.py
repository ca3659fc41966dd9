"""A task of text that every Python installation has, the same in each: the names of the characters of Unicode 3.2.

`unicodedata.ucd_3_2_0` is frozen: Python keeps it for internationalized domain names (RFC 3490), and the names of
characters are never changed by the standard's own promise. So the text does not depend on the version of Python.
"""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import torch
from torch import nn

from searcher.training.builtin.networks import Transformer
from searcher.training.data import TensorSplit
from searcher.training.tasks import Task

LENGTH = 32
"""Characters that the network reads; it predicts the one after each of them."""

NAMES = 4000
"""How many of the 12,886 names are used, drawn at random: so that an epoch takes about a second."""

ALPHABET = "\n -0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_SCHEMATIC = ("CJK UNIFIED IDEOGRAPH-", "HANGUL SYLLABLE ", "CJK COMPATIBILITY IDEOGRAPH-")
"""Names made by rule, tens of thousands of them."""


def names_transformer() -> Task:
    """Next-character prediction in names such as LATIN SMALL LETTER A WITH MACRON, by a small transformer.

    The loss is the mean over characters, the accuracy the share of characters that are predicted right. Meant for
    `optimizer: adamw`. No name stands in two splits.
    """
    names = character_names()
    order = np.random.default_rng(0).permutation(len(names))[:NAMES]
    fifth = NAMES // 5
    parts = (order[2 * fifth :], order[:fifth], order[fifth : 2 * fifth])
    train, test, holdout = (_windows([names[index] for index in part]) for part in parts)
    return Task(_network, train, test, holdout, nn.functional.cross_entropy)


def character_names() -> list[str]:
    """The names, in the order of their characters."""
    database = unicodedata.ucd_3_2_0
    names = (database.name(chr(code), "") for code in range(sys.maxunicode + 1))
    return [name for name in names if name and not name.startswith(_SCHEMATIC)]


def _windows(names: list[str]) -> TensorSplit:
    """The names, each on a line, cut into windows: inputs and, one character later, targets, `[n, LENGTH]` both."""
    text = "\n".join(names)
    symbols = np.array([ALPHABET.index(character) for character in text], dtype=np.int64)
    count = (len(symbols) - 1) // LENGTH
    inputs = symbols[: count * LENGTH].reshape(count, LENGTH)
    targets = symbols[1 : count * LENGTH + 1].reshape(count, LENGTH)
    return TensorSplit(torch.from_numpy(inputs), torch.from_numpy(targets))


def _network() -> nn.Module:
    return Transformer(len(ALPHABET), LENGTH, width=32, heads=4, blocks=2)
