"""The rows of an SQL query as record batches, through Arrow where that is surely exact."""
