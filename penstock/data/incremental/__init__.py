"""Ingest of what is new: the rows of files that were read before are taken from a kept dataset."""
