"""Bulk edits of AWS HealthImaging metadata: fewest calls, exactly at the quota, every row accounted for."""

__version__ = "0.1.0"
