"""What a rollout drives: one module for each kind of service."""
