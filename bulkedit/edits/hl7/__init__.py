"""HL7 v2 messages about patients as edit lists."""
