"""The one transformer that training and serving share."""
