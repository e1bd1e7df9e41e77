"""What is tried of Autodesk: on items that somebody prepared for it, since no API makes the steps of a review.

`begin`, `trial` and `review` first, then the checks: `reviews`, `lists`, `access`, `limits`, `tokens`; `table` lists them.
"""
