"""What is counted of a table, batch by batch: exact, and the same however the rows are cut."""
