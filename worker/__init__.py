"""approval-worker: each approval takes effect at most once, or is parked with its evidence."""

__version__ = "0.1.0"
