"""What is tried of Workiva: on tasks that the run makes, and deletes again.

`begin`, `trial` and `task` first, then the checks: `rounds`, `bodies`, `lists`, `versions`, `limits`; `table` lists them.
"""
