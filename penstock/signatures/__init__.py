"""Signatures on a model's folder, and on the decision about it: made, and checked at the door.

Checking needs `cryptography` alone, which every image that serves a model has anyway.
"""
