"""Built-in example tables."""
