"""What a monitor keeps and reads, here or in an object store."""
