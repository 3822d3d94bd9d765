"""Whether a new champion does harm, and its return."""
