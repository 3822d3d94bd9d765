"""Volume claims of a cluster, as the pods of a step reach them."""

from __future__ import annotations

from pathlib import Path

from penstock.errors import InputError

CLAIM = "pvc://"
"""What an address begins with that is a claim of the cluster: `pvc://NAME/folder`."""

MOUNT = Path("/mnt/penstock")
"""Where the pods of a step have claims: a folder by the name of each."""


def reached(address: str, *, where: str) -> str:
    """Return an address as this process reaches it: that of a claim is the folder it is mounted at.

    Args:
        address: A path, an address of a store, or `pvc://CLAIM/folder`.
        where: The setting that it is from, for messages.

    Raises:
        InputError: If it is of a claim that is not mounted here.

    Example:
        >>> reached("s3://bucket/rows", where="monitoring.captures")
        's3://bucket/rows'
    """
    if not address.startswith(CLAIM):
        return address
    claim, folder = claim_of(address)
    mounted = MOUNT / claim
    if not mounted.is_dir():
        raise InputError(
            "a claim of the cluster is reached from pods that mount it alone",
            where=f"{where}: {address}",
            remedy=f"Run it in such a pod, as pipelines do, or mount the claim at {mounted}.",
        )
    return str(mounted / folder)


def claims_in(*addresses: str) -> tuple[str, ...]:
    """Return the claims that addresses name, each once.

    Example:
        >>> claims_in("pvc://rows/shop", "s3://bucket", "pvc://rows")
        ('rows',)
    """
    found = (claim_of(one)[0] for one in addresses if one.startswith(CLAIM))
    return tuple(dict.fromkeys(found))


def claim_of(destination: str) -> tuple[str, str]:
    """Return the claim and the folder in it that an address of the kind `pvc://` names.

    Example:
        >>> claim_of("pvc://captures/shop/rows")
        ('captures', 'shop/rows')
    """
    claim, _, folder = destination.removeprefix(CLAIM).partition("/")
    return claim, folder.strip("/")
