"""What a dataset holds, column by column, and how far another has moved from it."""
