"""Networks under Lightning."""
