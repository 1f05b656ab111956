"""Makes image sets from DICOM files."""
