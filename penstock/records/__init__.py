"""The documents that steps hand to one another, each with one reader and one writer."""
