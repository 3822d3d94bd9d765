"""Policy and evaluation in, decision out. Pure."""
