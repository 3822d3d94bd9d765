"""Processes of this machine: started, waited for, identified, ended; their logs."""
