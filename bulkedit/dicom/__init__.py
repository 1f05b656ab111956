"""DICOM's dictionary, and the service's constraints as data."""
