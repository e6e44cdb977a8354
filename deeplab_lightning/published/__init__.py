"""Weights that others have published, as networks of this package."""
