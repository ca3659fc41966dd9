"""Torch: tasks and the training loop. No Ray."""
