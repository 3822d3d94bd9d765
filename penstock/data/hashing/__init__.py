"""Hashes of cells, rows and tables, by which data are told apart and versions are named."""
