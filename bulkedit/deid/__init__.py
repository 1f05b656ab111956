"""De-identification: profiles and a key, metadata documents in, an ordinary edit list out."""
