"""Sources that keep versions of their own: a moving reference is resolved, then read by that.

Each kind is a module of its own, which alone imports that kind's library.
"""
