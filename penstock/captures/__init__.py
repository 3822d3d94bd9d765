"""Captured rows and labels: the files they are kept in, and how they are read, kept and erased."""
