"""The tables of the papers: read from their files, planned as trainings and evaluations, and run."""
