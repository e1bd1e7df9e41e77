"""Holds the sandbox's numbered assumptions against whatever answers at an account's address, and says which of them hold.

Read in this order: `verdict` (what a check may say), `wire` (requests out), `answers` (what comes back), `trial` (who is there, what is
made, what is cleaned up), then the checks, a function for each number: `rounds`, `bodies`, `lists`, `versions`, `limits`; `table` lists
them, `run` runs them.

The promise is that a report can be shown to anyone. It holds by construction: what a check has seen is put together from our own words,
from numbers, and from words that Workiva published (`verdict.word`); no text that an upstream sent is ever repeated.

It acts on tasks that it made itself, through the grants of the account, and not through submissions: the ledger is not touched. It never
sees the sandbox; the texts of the assumptions come from whoever prints them.
"""
