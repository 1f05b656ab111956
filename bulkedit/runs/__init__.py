"""One application of one plan: lanes of calls, the ledger, and what they share."""
