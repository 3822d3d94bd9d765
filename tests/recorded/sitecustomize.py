"""Writes down each name that Python looks up and each address that it connects to, in any process.

A folder on PYTHONPATH is inherited by what a command starts, and Python imports this first. The
interpreter itself tells of the calls, so no library goes around it; native code does.
"""

import os
import sys

_FILE = os.environ.get("RECORDED_NAMES", "")
_EVENTS = {
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
    "socket.connect": 1,
    "socket.sendto": 1,
}


def _record(event, arguments):
    at = _EVENTS.get(event)
    if at is None:
        return
    name = arguments[at]
    if isinstance(name, tuple):
        name = name[0]
    elif at == 1:
        return  # A socket of this machine: a path.
    name = name.decode() if isinstance(name, bytes) else str(name)
    line = os.open(_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(line, f"{name}\t{sys.argv[0] if hasattr(sys, 'argv') else ''}\n".encode())
    os.close(line)


if _FILE:
    sys.addaudithook(_record)
