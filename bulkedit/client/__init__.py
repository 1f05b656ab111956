"""The HealthImaging client: its interface, its connection to AWS, parsed responses, and request rates."""
