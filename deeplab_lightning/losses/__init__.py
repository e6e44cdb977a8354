"""Losses over logits and masks in plain torch."""
