"""CSV files: how one is written, and its rows as record batches (see ADR 0049: why by hand)."""
