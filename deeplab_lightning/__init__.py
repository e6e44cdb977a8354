"""The DeepLab family (v1, v2, v3, v3+) as one PyTorch Lightning experiment repository."""

__version__ = "0.1.0"

IGNORE_INDEX = 255
"""The mask value of void pixels, which losses and metrics ignore."""
