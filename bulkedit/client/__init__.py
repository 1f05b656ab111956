"""The service: its contract, the way to it, its answers, and how fast it may be asked."""
