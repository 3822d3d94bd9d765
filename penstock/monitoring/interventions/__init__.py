"""Recalls and retrainings: which, when, and how they stand."""
