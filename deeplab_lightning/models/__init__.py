"""Networks: torch.nn only."""
