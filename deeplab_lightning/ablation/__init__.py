"""From the file of a table to its finished runs: read, planned, run."""
