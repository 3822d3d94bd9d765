"""What people look at: self-contained HTML and plots."""
