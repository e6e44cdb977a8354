"""Tables of the papers: read, run, compared."""
