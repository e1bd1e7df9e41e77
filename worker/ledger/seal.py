"""Tokens at rest: sealed with the newest of the keys, opened with any of them, so that a key can be changed while everything runs.

A sealed text belongs to its name: one that was copied into another's row does not open. The keys are the setting `ledger.encryption_keys`
(SHA-256 of each text makes a Fernet key). An embedded ledger without that setting has a key file beside the database, made when it is first
needed. Whoever has both the database and its keys has the tokens: keep the two apart, and out of one backup.
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from worker.errors import SettingsError

SHORTEST = 32
"""Characters of a key. `openssl rand -hex 32` makes 64."""


class Seal:
    """See the module. *keys*: newest first; *file*: where the key lies if there are none; None: then there is no key at all."""

    def __init__(self, keys: Sequence[str], file: Path | None) -> None:
        self._keys, self._file = tuple(keys), file

    def __repr__(self) -> str:
        """Never a key."""
        return f"Seal(keys={len(self._keys)}, file={self._file})"

    def close(self, name: str, text: str) -> str:
        """*text* sealed with the newest key, for *name* only. Raises SettingsError."""
        return self._fernet.encrypt(f"{name}\n{text}".encode()).decode()

    def open(self, name: str, sealed: str) -> str:
        """What was sealed for *name*. Raises SettingsError where no key fits."""
        if not self._keys and self._file is not None and not self._file.exists():
            raise SettingsError(f"{self._file}: the key of the stored tokens is missing: bring it back, or run `approvals login` anew")
        try:
            owner, _, text = self._fernet.decrypt(sealed.encode()).decode().rpartition("\n")
        except InvalidToken:
            owner, text = "", ""
        if owner != name or not name:
            raise SettingsError(f"a stored token cannot be opened: {self._place} does not hold the key that it was sealed with")
        return text

    @property
    def _place(self) -> str:
        return "ledger.encryption_keys" if self._keys or self._file is None else str(self._file)

    @cached_property
    def _fernet(self) -> MultiFernet:
        if any(len(key) < SHORTEST for key in self._keys):
            raise SettingsError(f"ledger.encryption_keys: each must have at least {SHORTEST} characters (openssl rand -hex 32 makes one)")
        if self._keys:
            raw = [key.encode() for key in self._keys]
        elif self._file is not None:
            raw = [_of_file(self._file)]
        else:
            raise SettingsError("ledger.encryption_keys: tokens are stored sealed, so a key is needed (openssl rand -hex 32 makes one)")
        return MultiFernet([Fernet(base64.urlsafe_b64encode(hashlib.sha256(key).digest())) for key in raw])


def _of_file(file: Path) -> bytes:
    """The key in *file*, which is made if it is not there yet. Of many processes that make it at once one wins, and all read the same."""
    try:
        if not file.exists():
            _make(file)
        if file.stat().st_mode & 0o077:
            raise SettingsError(f"{file}: the key of the stored tokens can be read by others: chmod 600 it, or set ledger.encryption_keys")
        return file.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{file}: the key of the stored tokens cannot be used: {exc.strerror}. Or set ledger.encryption_keys") from exc


def _make(file: Path) -> None:
    """Written whole, then put in its place: nobody reads half a key. It is on disk before anything is sealed with it."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.write(handle, secrets.token_bytes(32))
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(draft, file)
        except FileExistsError:
            pass  # another process was first
    finally:
        draft.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
