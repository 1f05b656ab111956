"""The DICOM dictionary, and the service's constraints as data."""
