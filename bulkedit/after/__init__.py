"""After a run: report, verify and revert."""
