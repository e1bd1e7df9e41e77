"""The ways out for events. A new one is a file beside these, a line in the table, and a section in the settings."""

from worker.sinks.exchange import Exchange

KNOWN = {
    "exchange": Exchange,
}
"""The settings' `kind` -> what is made of it."""
