"""What the evidence of a rollout says: pure functions over summaries."""
