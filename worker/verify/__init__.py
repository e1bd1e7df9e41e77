"""Holds the sandbox's numbered assumptions against whatever answers at an account's address, and says which of them hold.

Read in this order: `verdict` (what a check may say), `wire` (requests out), `answers` (what comes back), `asking` (who asks), `run`; then
for each upstream (`workiva`, `autodesk`) what a run has to work with (`trial`), and the checks, a function for each number. `table` lists
the upstreams.

The promise is that a report can be shown to anyone. It holds by construction: what a check has seen is put together from our own words,
from numbers, and from words that the upstreams published (`verdict.word`); no text that an upstream sent is ever repeated.

It acts on tasks that it made itself, or that it was told to use, through the grants of the account, and not through submissions. Of the
ledger it uses the tokens, where they live there, by what the caller passes in. It never sees the sandbox; the texts of the assumptions come
from whoever prints them.
"""
