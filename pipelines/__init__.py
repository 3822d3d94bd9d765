"""Compositions of the components, and what is done with them."""
