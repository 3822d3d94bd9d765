"""What a model's answers rest on: attributions, importance, dependence, single rows."""
