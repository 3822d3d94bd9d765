"""A service on this machine: server processes on loopback behind one proxy."""
