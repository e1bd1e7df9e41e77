"""The exceptions of this program: bugs and broken infrastructure only. What an upstream says is a value.

ApprovalsError
├── SettingsError
├── LedgerDown
└── SchemaMismatch
"""


class ApprovalsError(Exception):
    """The root: whoever catches this catches everything we raise, and nothing that others raise."""


class SettingsError(ApprovalsError):
    """The settings cannot be used. The message lists every fault at once, by the path of its key, never by its value."""


class LedgerDown(ApprovalsError):
    """The ledger's database cannot be reached, or it is not known whether a commit took place. What is idempotent may be repeated."""


class SchemaMismatch(ApprovalsError):
    """The ledger's tables are not of this release. The message says which way, and the command that mends it."""
