"""What starts a release by itself: events over HTTP, and files that are dropped."""
