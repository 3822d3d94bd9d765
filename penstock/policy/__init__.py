"""The gate's policy: what a candidate must show, for who measures and who judges."""
