"""Data sets under Lightning."""
