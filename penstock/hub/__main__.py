"""What `penstock.hub.process` starts: it reads on standard input what to tell the Hub."""

from __future__ import annotations

import json
import sys

from penstock.hub.sync import tell_hub

if __name__ == "__main__":
    tell_hub(**json.load(sys.stdin))
