"""What carries a service: processes of this machine, or KServe on a cluster."""
