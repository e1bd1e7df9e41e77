"""A month of watching in minutes: the real flows and a real ledger, against the sandbox, on a clock of its own. `make watching`."""
