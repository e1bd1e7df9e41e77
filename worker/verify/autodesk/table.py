"""Every check about Autodesk by the number of the assumption that it holds against the upstream, in the order of the run. First whether
an item can be used again, because it takes a new one to tell; last what rests on all that was seen, what uses up the minute's requests, and
what may end a grant.
"""

from collections.abc import Callable, Mapping
from typing import Final

from worker.verify.autodesk import access, limits, lists, reviews, tokens
from worker.verify.autodesk.trial import Trial
from worker.verify.verdict import Verdict

CHECKS: Final[Mapping[int, Callable[[Trial], Verdict]]] = {
    59: reviews.sent_again_begins_anew,
    40: reviews.second_close_is_refused,
    41: reviews.early_close_is_refused,
    42: reviews.response_touches_the_item,
    43: lists.days_are_of_utc,
    45: access.errors_have_title_and_detail,
    46: lists.default_is_twenty,
    47: lists.limit_has_a_range,
    48: lists.next_is_null_at_the_end,
    49: reviews.optional_tasks_are_left,
    50: reviews.step_without_required_waits_for_all,
    51: reviews.rejection_counts_like_any_other,
    52: reviews.managers_answer_for_others,
    53: access.what_is_hidden_is_not_found,
    54: access.user_is_needed,
    55: access.prefix_is_refused,
    56: reviews.system_moves_the_item_soon,
    57: reviews.next_step_begins_at_once,
    60: reviews.return_for_review_begins_the_last_step,
    61: reviews.wrong_transition_is_refused,
    62: access.dead_response_is_refused,
    64: lists.unknown_names_are_refused,
    65: access.token_errors_begin_with_the_word,
    67: limits.effect_outlasts_the_limit,
    58: lists.times_have_six_digits,
    63: limits.six_hundred_a_minute,
    66: tokens.access_tokens_outlive_a_refresh,
    44: tokens.used_refresh_token_is_dead,
}
