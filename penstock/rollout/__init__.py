"""Bringing a registered version to users."""
