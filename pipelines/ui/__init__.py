"""The page of a project: a service's whole life, in its home or served by `penstock ui`."""
