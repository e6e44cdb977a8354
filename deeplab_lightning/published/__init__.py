"""Import of weights that others have published."""
