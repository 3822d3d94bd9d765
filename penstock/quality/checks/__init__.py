"""How each expectation is checked by states, and what its result says."""
