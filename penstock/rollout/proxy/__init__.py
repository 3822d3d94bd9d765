"""The proxy of a local service: one public port, and versions behind it by weight."""
