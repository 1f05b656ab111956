"""The API operations of the service."""
