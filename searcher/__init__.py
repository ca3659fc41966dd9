"""Hyper-parameter search for neural networks, compared by what it costs."""
