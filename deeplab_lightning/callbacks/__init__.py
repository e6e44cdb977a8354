"""Callbacks for all that surrounds training: scores, logs, checkpoints, progress and safety."""
