"""The emulator's server: requests in, answers out."""
