"""The console: the worker over HTTP, for those who have no broker at hand.

`api` what may be asked and what is answered; `server` the process: the door, the limits, the end. Off unless `console.tokens` holds one.
"""
