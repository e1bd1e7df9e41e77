"""The exceptions of this program: bugs and broken infrastructure only. What an upstream says is a value.

    ApprovalsError
    └── SettingsError
"""


class ApprovalsError(Exception):
    """The root: whoever catches this catches everything we raise, and nothing that others raise."""


class SettingsError(ApprovalsError):
    """The settings cannot be used. The message lists every fault at once, by the path of its key, never by its value."""
