"""Data sets and transforms, without Lightning."""
