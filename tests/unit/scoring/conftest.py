"""What the tests of batch scoring share."""

from registered_version import registered as registered
