"""Where a monitor's files lie: a folder of this machine, or one in an object store."""

from __future__ import annotations

from collections.abc import Callable

from penstock.captures.places import Place
from penstock.common.disk import writing


def nobody_else() -> None:
    """Return: nobody else writes there, or a lock holds it that the system takes back."""


class Storage:
    """The files of one monitor: each is whole, or not there.

    Args:
        place: Where they lie.
        where: The same for people: a path or an address.
        confirm: Called before whatever changes them; raises where another process watches by now.
    """

    def __init__(
        self, place: Place, *, where: str, confirm: Callable[[], None] = nobody_else
    ) -> None:
        self._place = place
        self.confirm = confirm
        self.where = where

    def address(self, folder: str, name: str) -> str:
        """Return where a file is, for messages and links."""
        return "/".join([self.where, *([] if folder == "." else [folder]), name])

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none where there is no folder.

        Raises:
            ServiceError: If a store does not answer.
        """
        return self._place.names(folder)

    def folders(self) -> dict[str, list[str]]:
        """Return the names of the files in each folder.

        Raises:
            ServiceError: If a store does not answer.
        """
        return self._place.folders()

    def read(self, folder: str, name: str) -> bytes:
        """Return a file.

        Raises:
            OSError: If it is gone, or this machine cannot read it.
            ServiceError: If a store does not answer.
        """
        return self._place.read(folder, name)

    def write(self, folder: str, name: str, data: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            LeaseLostError: If another process watches by now; nothing is written.
            ServiceError: If it cannot be written.
        """
        self.confirm()
        with writing(self.address(folder, name)):
            self._place.write(folder, name, data)

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; it may be gone.

        Raises:
            LeaseLostError: If another process watches by now; nothing is removed.
            ServiceError: If it cannot be removed.
        """
        self.confirm()
        with writing(self.address(folder, name)):
            self._place.remove(folder, name)
