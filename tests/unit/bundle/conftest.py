"""What the tests of bundles share with those of batch scoring."""

from registered_version import registered as registered
