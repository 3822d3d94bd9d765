"""No secret in what people read: it is learned once and hidden in every text after that."""

from penstock.redaction.known_secrets import guard as guard
from penstock.redaction.known_secrets import guarded as guarded
from penstock.redaction.known_secrets import keep as keep
from penstock.redaction.known_secrets import learn as learn
from penstock.redaction.known_secrets import redact as redact
from penstock.redaction.known_secrets import redact_address as redact_address
