"""What is watched: each signal, a window's counts of it, and when it has left its range."""
