"""Tables in, dataset versions out."""
