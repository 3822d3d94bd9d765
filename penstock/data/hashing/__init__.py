"""Hashes of cells, rows and tables, by which data are compared and versions are named."""
