"""Processes of this machine: started, waited for, told apart from any other, ended; their logs."""
