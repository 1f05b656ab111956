"""DICOM files as image sets."""
