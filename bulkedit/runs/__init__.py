"""One application of one plan: lanes of calls, and the ledger that records them."""
