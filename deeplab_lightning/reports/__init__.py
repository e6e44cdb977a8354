"""The reports on finished runs: tables with the papers' numbers, charts and pages."""
