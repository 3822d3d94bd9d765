"""What every part of the library stands on: files, times, secrets, progress."""
