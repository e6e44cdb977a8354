"""Side concerns of a run: callbacks that read outputs and log."""
