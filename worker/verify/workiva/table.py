"""Every check about Workiva by the number of the assumption that it holds against the upstream."""

from collections.abc import Callable, Mapping
from typing import Final

from worker.verify.verdict import Verdict
from worker.verify.workiva import bodies, limits, lists, rounds, versions
from worker.verify.workiva.trial import Trial

CHECKS: Final[Mapping[int, Callable[[Trial], Verdict]]] = {
    1: rounds.response_moves_modified,
    2: rounds.rejection_returns,
    3: rounds.new_round_clears,
    4: rounds.rejection_among_all,
    5: rounds.outsider_is_refused,
    6: rounds.second_response_is_refused,
    7: rounds.action_must_fit,
    8: rounds.last_step_completes,
    9: rounds.restart_awaits,
    10: rounds.roles_are_kept,
    11: rounds.change_restarts,
    12: bodies.location_stays,
    13: rounds.patched_steps_keep_responses,
    14: bodies.comments_have_a_limit,
    15: bodies.rejection_needs_no_comment,
    16: bodies.answers_follow_the_schemas,
    17: bodies.times_are_written_alike,
    18: bodies.changes_name_their_user,
    19: lists.literals_are_read,
    20: lists.next_is_a_position,
    21: lists.process_tasks_are_not_listed,
    22: lists.everyone_sees_everything,
    23: versions.versions_are_routed,
    24: bodies.bad_bodies_are_refused,
    25: bodies.creation_takes_no_status,
    26: bodies.participants_count_once,
    27: rounds.deleted_is_not_found,
    28: limits.effect_outlasts_the_limit,
    29: limits.no_standing_limit,
    30: rounds.no_step_completes,
    31: versions.versions_serve_their_own_paths,
    32: versions.tokens_are_asked_for_as_documented,
    33: versions.tokens_are_shared,
    34: versions.old_errors_are_named,
    35: versions.both_list_by_the_same_rules,
    36: versions.old_version_has_single_tasks,
    37: versions.status_moves_by_actions_only,
    38: rounds.skip_completes,
    39: rounds.restart_fits_what_is_over,
}
