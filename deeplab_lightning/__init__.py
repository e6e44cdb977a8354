"""The DeepLab family (v1, v2, v3, v3+) as one PyTorch Lightning experiment repository."""

__version__ = "0.1.0"

IGNORE_INDEX = 255
"""Void: mask pixels of this value count neither in a loss nor in a metric."""
