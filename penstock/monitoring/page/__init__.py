"""The monitor's page for people."""
