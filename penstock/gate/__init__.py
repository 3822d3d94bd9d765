"""The gate: what a policy's rules ask, what they measure, and the decision. Deciding is pure."""
