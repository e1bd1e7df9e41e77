"""What the published pages leave open, numbered, and the switches that turn an assumption into its alternative.

The sandbox must answer something where the documentation is silent. Each such answer stands here, so that a run against a live
account can be held against the list, and so that a test can show that a client survives the other answer too.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Assumption:
    """One guess: what the sandbox does, why, and the switch that makes it do otherwise (with the values it takes)."""

    number: int
    text: str
    why: str
    switch: str | None = None
    values: tuple[Any, ...] = ()
    upstream: str = "workiva"
    """Of which upstream it is a guess."""


ASSUMPTIONS = (
    Assumption(
        1,
        "A response (APPROVE, REJECT, SKIP) moves the task's `modified`.",
        "not told; the published example speaks against it: modified 2019, response 2023 [SEED]",
        "modified_frozen",
        (False, True),
    ),
    Assumption(
        2,
        "REJECT ends the round: status Returned, the responses stay to be read.",
        "responses stay until the task is submitted again [OAS]; the status is not told, and the published example shows a REJECT under "
        "Awaiting Approval [SEED]",
        "reject_status",
        ("Returned", "Reworking", "Awaiting Approval"),
    ),
    Assumption(
        3,
        "SUBMIT of a returned task, and RESTART, empty the responses of every step and begin with the first.",
        "inferred from 'current approval process' in the text of `responses` [OAS]",
        "resubmit",
        ("clears", "keeps"),
    ),
    Assumption(
        4,
        "One REJECT on an ALL step returns the task at once; the alternative waits until everyone responded.",
        "ALL: every participant must respond [WPC]; a refusal among them is not told",
        "all_reject",
        ("returned", "waits"),
    ),
    Assumption(
        5,
        "APPROVE, REJECT or SKIP by someone who is no participant of the active step is 403, be it a participant of another step.",
        "403 is documented generically [OAS]",
        "outsider_status",
        (403, 400, 404),
    ),
    Assumption(
        6,
        "A second response of one user to a step in one round is 409; the alternative records it beside the first.",
        "409 'conflicts with another request' is documented without a cause [OAS]",
        "second_response",
        ("refused", "recorded"),
    ),
    Assumption(
        7,
        "An action that does not fit the status (APPROVE on Completed, SUBMIT while approval is awaited) is 409.",
        "400, 403 and 409 are all documented generically [OAS]",
        "wrong_state_status",
        (409, 400, 403),
    ),
    Assumption(
        8,
        "When the last step completes, the status is Completed.",
        "the legacy page lists both Approved and Completed [L-obj] and tells no difference",
        "final_status",
        ("Completed", "Approved"),
    ),
    Assumption(
        9,
        "A restarted task awaits approval on its first step at once; the alternative waits for a SUBMIT.",
        "not told; this is the answer that is more dangerous for a client",
        "restart_status",
        ("Awaiting Approval", "Created"),
    ),
    Assumption(
        10,
        "SUBMIT, CANCEL and RESTART are for assignees and the owner, SKIP for the step's participants and the owner; else 403.",
        "who may do what is not told; the alternative lets anyone in the workspace",
        "roles",
        ("strict", "anyone"),
    ),
    Assumption(
        11,
        "PATCH restarts the task when `assignees` or `location` changes, or when a participant who approved in this round is no longer "
        "in that step; not while it is Created or Cancelled.",
        "the restart is documented [P-patch]; the statuses it applies to are not",
        "patch_restarts",
        (True, False),
    ),
    Assumption(
        12,
        "A location can be set once; another one, or none, is then 400.",
        "'once attached cannot be changed' [P-obj] beside 'restarted when location changes' [P-patch]",
        "second_location",
        (400, 409, "replaces"),
    ),
    Assumption(
        13,
        "A PATCH of `approvalSteps` without a restart keeps the responses of a step by its index; if that completes every step, the "
        "task is completed; `open`: it goes on awaiting.",
        "not told",
        "patched_steps",
        ("kept", "cleared", "open"),
    ),
    Assumption(
        14,
        "A comment may have 2,000 characters; more is 400. 0: no limit.",
        "not told; the legacy description may have 2,000 [L-obj]",
        "comment_limit",
        (),
    ),
    Assumption(15, "REJECT needs no comment.", "`comment` is nullable [OAS]", "reject_needs_comment", (False, True)),
    Assumption(
        16,
        "Answers carry `dueDate` and `created.user.id`, as the schemas say; `example`: `dueAt` and `created.user_id` as the examples show.",
        "the documentation contradicts itself [SEED][OAS]",
        "wire",
        ("schema", "example", "both"),
    ),
    Assumption(
        17,
        "Times carry milliseconds; responses with `+00:00`, everything else with `Z`. `vary`: another precision from answer to answer.",
        "the offsets are the example's [SEED]; it shows whole seconds, which would hide that two changes differ",
        "fractions",
        (3, 0, 6, "vary"),
    ),
    Assumption(
        18,
        "`created` and `modified` of a task name their user.",
        "`Action.user` is nullable [OAS]; the example has none [SEED]",
        "modified_user",
        (True, False),
    ),
    Assumption(
        19,
        "Filter literals may be in single quotes ('' is a quote), in double quotes, or bare if they hold no space. `contains` "
        "may be written `title contains 'x'` or `contains(title,'x')`, and ignores case; `in` takes a list in parentheses.",
        "the properties and predicates are published [P-list], the quoting is not",
        "quotes",
        ("any", "single", "bare"),
    ),
    Assumption(
        20,
        "`$next` is a position: a row that is touched between two pages may be lost or come twice; `row`: it names the last row. "
        "Without `$orderBy` the order is that of creation.",
        "`@nextLink` is opaque [OAS]; this is the answer that is more dangerous for a client",
        "paging",
        ("position", "row"),
    ),
    Assumption(
        21,
        "GET by id, PATCH and actions work on a task made by a process; only the list leaves it out.",
        "the list's text says so of the list [P-list]; of the others nothing is told",
        "process_tasks",
        ("unlisted", "listed", "read_only", "hidden"),
    ),
    Assumption(
        22,
        "Every client sees every task of the workspace; `involved`: only its owner, assignees and participants do, for others it is 404.",
        "depends on permissions that are not modelled",
        "seen_by",
        ("everyone", "involved"),
    ),
    Assumption(
        23,
        "An `X-Version` that does not exist is 400; without one, a request is routed to 2022-01-01, where `/tasks` does not exist: 404.",
        "the routing is documented [VER]; the statuses are not",
        "unknown_version",
        (400, 404, "newest"),
    ),
    Assumption(
        24,
        "A body that is no JSON, or of the wrong shape, is 400; above 10,485,760 bytes it is 413.",
        "the limit is published [26-lim], the status is not",
        "bad_body",
        ("400, large 413", "422, large 413", "400, large 400"),
    ),
    Assumption(
        25,
        "POST /tasks takes no `status` but Created; it ignores the read-only fields. `any_status`: it takes any; `strict`: read-only "
        "fields are refused.",
        "default Created, no enumeration [OAS]",
        "creation",
        ("documented", "any_status", "strict"),
    ),
    Assumption(
        26,
        "A step needs a participant; a user named twice counts once. The alternatives: is `refused`; has to respond `twice`; a step needs "
        "`nobody`.",
        "not told; the createTask example repeats one id [OAS]",
        "participants",
        ("once", "twice", "refused", "nobody"),
    ),
    Assumption(27, "An action on a task that was deleted is 404.", "404 is documented generically [OAS]", "deleted_status", (404, 410)),
    Assumption(
        28,
        "A request that outlasts the 29 s limit is answered 504, and its effect takes place all the same; `dropped`: never.",
        "the limit is published [26-lim]; what becomes of the effect is not",
        "outlasting",
        ("applied", "dropped"),
    ),
    Assumption(
        29,
        "No standing limit of requests per second; one that is set is shared by the workspace, tokens included, and its 429 carries "
        "Retry-After: 1.",
        "no number is published for /tasks; 75/s for the legacy list, 50/s in very old pages",
        "requests_per_second",
        (),
    ),
    Assumption(
        30,
        "A task with no approval step is completed by SUBMIT; the alternatives: refuses it (409), or awaits.",
        "not told",
        "stepless",
        ("completes", "refuses", "awaits"),
    ),
    Assumption(
        31,
        "A version serves its own paths only: `/tasks` asked for as 2022-01-01, and `/prototype/platform/tasks` as 2026-01-01, are 404; "
        "`any`: the path decides.",
        "`X-Version` routes a request [VER]; what a path of the other version answers is not told, and mixing is not supported [26-sus]",
        "version_paths",
        ("own", "any"),
    ),
    Assumption(
        32,
        "The token endpoint of 2026-01-01 reads the form only; that of 2022-01-01 JSON and HTTP Basic, too.",
        "2026: a form [OAS]; 2022: a form or JSON [AUTH], Basic in an older page; that 2026 refuses the others is not told",
        "token_ways",
        ("documented", "any"),
    ),
    Assumption(
        33,
        "A token of either token endpoint is good for both versions.",
        "the OpenAPI document of 2026 names the endpoint of 2022 as its tokenUrl [OAS]; the reverse is not told",
        "tokens_shared",
        (True, False),
    ),
    Assumption(
        34,
        "Errors of 2022-01-01 have the codes of 2026-01-01 without the number, but BadArgument for 400; they have no documentationUrl and "
        "no version.",
        "the fields and the one example BadArgument are published [ERR], the other codes are not",
        "old_codes",
        ("named", "numbered"),
    ),
    Assumption(
        35,
        "Both versions list by the same rules: filters, sort orders and visibility as published for 2022-01-01, page sizes 1 to 1000 as "
        "published for 2026-01-01; `old`: only 2022-01-01 filters and sorts, to the other both are 400.",
        "each page tells half of it [P-list][OAS]",
        "filtered",
        ("both", "old"),
    ),
    Assumption(
        36,
        "2022-01-01 has GET and DELETE of one task, too; POST answers 201 and DELETE 204. `none`: GET and DELETE of one are 404 there.",
        "these two pages were not to be had; inferred from the others and from 2026-01-01",
        "old_by_id",
        ("same", "none"),
    ),
    Assumption(
        37,
        "The status of a task with a single step moves by actions only, as that of any other; PATCH of `/status` is 400.",
        "'can only be updated for tasks with a single approval step' [SEED] beside a table of paths without it [P-patch]",
        "status_patch",
        (False, True),
    ),
    Assumption(
        38,
        "One SKIP completes a step, one of mode ALL, too; `own`: there it counts for its user only.",
        "ALL: every participant must respond [WPC]; whose response a SKIP is, is not told",
        "skip",
        ("step", "own"),
    ),
    Assumption(
        39,
        "SUBMIT fits Created, Returned and Reworking; APPROVE, REJECT and SKIP fit Awaiting Approval; CANCEL all but Completed, Approved "
        "and Cancelled; RESTART all but Created, or, with `open`, but these three and Created.",
        "the transitions are not told",
        "restart_from",
        ("any", "open"),
    ),
    Assumption(
        40,
        "A second `:close` of a task is 403; `replaces`: it is 200 and the later response stands.",
        "no status is told; after a close `Task::close` is no longer among the permitted actions [TUT]",
        "second_close",
        (403, 400, 409, "replaces"),
        "autodesk",
    ),
    Assumption(
        41,
        "A `:close` of a task whose step has not begun, or whose item is not under review, is 403.",
        "the permitted actions tell that it may not; the status is not told",
        "early_close",
        (403, 400, 409),
        "autodesk",
    ),
    Assumption(
        42,
        "A response moves the item's `updatedAt` when it ends a step, and not when it is one of several; the alternatives: "
        "`last`: when it ends the last one; `any`: each does.",
        "shown for the last task only [TUT]; `any` is the friendlier answer to who polls",
        "response_touches",
        ("step", "last", "any"),
        "autodesk",
    ),
    Assumption(
        43,
        "The day of a date filter is a day of UTC; the alternatives are days of another zone.",
        "`YYYY-MM-DD` [ITEMS], the zone is not told",
        "filter_zone",
        ("UTC", "-08:00", "+10:00"),
        "autodesk",
    ),
    Assumption(
        44,
        "A refresh token that was used is dead, also if the answer was lost; `grace`: for a minute it is answered again with "
        "the same successor; `family`: its second use kills the successor, too.",
        "single use is told [REFRESH]; what a second use does is not",
        "lost_refresh",
        ("dead", "grace", "family"),
        "autodesk",
    ),
    Assumption(
        45,
        'Errors of Submittals are `{"title", "detail"}`; the alternatives: plain text, or an empty body.',
        "no page gives their schema",
        "submittals_error",
        ("title", "text", "empty"),
        "autodesk",
    ),
    Assumption(
        46,
        "Without `limit` a page has 20; `example`: steps come 100 at a time.",
        "documented: 20; the tutorial's steps, asked for without `limit`, show 100 [TUT]",
        "default_limit",
        ("documented", "example"),
        "autodesk",
    ),
    Assumption(
        47,
        "A `limit` outside 1 to 50 is 400; `clamped`: it is brought inside.",
        "the range is told, the answer is not",
        "limit_range",
        ("refused", "clamped"),
        "autodesk",
    ),
    Assumption(
        48,
        "`nextUrl` is null on the last page; `absent`: it is not there; `never`: no page has the two addresses.",
        "the text says absent, the examples show null, the tutorial has neither [TUT]",
        "next_url",
        ("null", "absent", "never"),
        "autodesk",
    ),
    Assumption(
        49,
        "Optional tasks that are open when their step ends stay `in-progress` and cannot be closed any more; `open`: they "
        "can, while the item is under review; `completed`: they end with it, without a response.",
        "not told",
        "optional_tasks",
        ("left", "open", "completed"),
        "autodesk",
    ),
    Assumption(
        50,
        "A step without a required task ends when all of its tasks are closed; `first`: when one is.",
        "the last required task ends a step [CLOSE]; a step without one is not told of",
        "no_required",
        ("all", "first"),
        "autodesk",
    ),
    Assumption(
        51,
        "A response that is no approval counts like any other; `returns`: the item goes to `mgr-2` at once.",
        "only that a task is closed is told to count [CLOSE]",
        "rejection",
        ("counts", "returns"),
        "autodesk",
    ),
    Assumption(
        52,
        "A manager may close anyone's task, and is then `respondedBy`; `assigned`: only who is assigned may.",
        "'review on behalf of other reviewers' [PERM]; that the API allows it is not told",
        "on_behalf",
        ("managers", "assigned"),
        "autodesk",
    ),
    Assumption(
        53,
        "What a member may not see (a draft, to who is no manager) is 404; a project that does not exist, or of which the "
        "user is no member, is 403.",
        "a 403 may be sent instead of 404, to hide existence [AUTHERR]",
        "hidden",
        ("404, project 403", "403, project 403", "404, project 404"),
        "autodesk",
    ),
    Assumption(
        54,
        "A token without a user (client credentials) is 403, AUTH-010.",
        "'user context required' [TASK]; the status is not told",
        "two_legged",
        (403, 401),
        "autodesk",
    ),
    Assumption(
        55,
        "A project id with the prefix `b.` is 400.",
        "the prefix has to be taken off [TASK]; what it answers is not told",
        "prefixed_project",
        (400, 404),
        "autodesk",
    ),
    Assumption(
        56,
        "The system moves an item 130 ms after the response that ended the last step.",
        "0.13 s in the one example [TUT]",
        "system_delay_ms",
        (),
        "autodesk",
    ),
    Assumption(
        57,
        "The next step begins in the instant in which the one before it ends; `later`: after the delay of 56.",
        "not told",
        "next_step",
        ("at_once", "later"),
        "autodesk",
    ),
    Assumption(
        58,
        "Times carry 6 digits of a second, some of them 3 or 7; `6`: always six.",
        "all three occur in the examples [TASK]",
        "timestamps",
        ("mixed", "6"),
        "autodesk",
    ),
    Assumption(
        59,
        "Going to `rev` again begins with the first step: same ids, new `startedAt`, no responses; `goes_on`: what is "
        "completed stays, the review goes on after it.",
        "a new `startedAt` under the same id is seen [TUT]; the rest is not told",
        "new_round",
        ("begins", "goes_on"),
        "autodesk",
    ),
    Assumption(
        60,
        "`mgr-2` to `rev` begins the last step again, and only it; `first`: it is a new round (59).",
        "`stepDueDate`, of one step, is mandatory there [TUT]",
        "return_for_review",
        ("last", "first"),
        "autodesk",
    ),
    Assumption(
        61,
        "A transition that the item's state, or the caller's role, does not allow is 403.",
        "not told",
        "wrong_transition",
        (403, 400, 409),
        "autodesk",
    ),
    Assumption(
        62,
        "A `responseId` that is unknown or no longer active is 400; `taken`: one that is no longer active is accepted.",
        "not told",
        "dead_response",
        (400, 404, "taken"),
        "autodesk",
    ),
    Assumption(
        63,
        "600 requests a minute, for the app and for the user each, in windows that begin with their first request; "
        "`Retry-After` is the rest of the window. 0: no limit.",
        "the numbers are told [RATE], the window is not",
        "requests_per_minute",
        (),
        "autodesk",
    ),
    Assumption(
        64,
        "A filter or a sort order that does not exist is 400; `ignored`: it is passed over.",
        "not told",
        "unknown_filter",
        (400, "ignored"),
        "autodesk",
    ),
    Assumption(
        65,
        "The token endpoint answers errors with `developerMessage`, which begins with OAuth's word; `oauth`: with `error` and "
        "`error_description`.",
        "the words are told [TOKEN], the shape is that of other errors of authentication [AUTHERR]",
        "token_error",
        ("gateway", "oauth"),
        "autodesk",
    ),
    Assumption(
        66,
        "A refresh leaves the access tokens alive that were given before it; `ends`: it ends them.",
        "not told",
        "refresh_ends",
        ("nothing", "ends"),
        "autodesk",
    ),
    Assumption(
        67,
        "A request that outlasts 60 s is answered 504, and its effect takes place all the same; `dropped`: never.",
        "no limit is published",
        "autodesk_outlasting",
        ("applied", "dropped"),
        "autodesk",
    ),
)


@dataclass(frozen=True, slots=True)
class Switches:
    """The assumptions in force. The first value of each row above is the default."""

    modified_frozen: bool = False
    reject_status: str = "Returned"
    resubmit: str = "clears"
    all_reject: str = "returned"
    outsider_status: int = 403
    second_response: str = "refused"
    wrong_state_status: int = 409
    final_status: str = "Completed"
    restart_status: str = "Awaiting Approval"
    roles: str = "strict"
    patch_restarts: bool = True
    comment_limit: int = 2000
    reject_needs_comment: bool = False
    wire: str = "schema"
    fractions: int | str = 3
    modified_user: bool = True
    quotes: str = "any"
    second_location: int | str = 400
    patched_steps: str = "kept"
    paging: str = "position"
    process_tasks: str = "unlisted"
    seen_by: str = "everyone"
    unknown_version: int | str = 400
    bad_body: str = "400, large 413"
    creation: str = "documented"
    participants: str = "once"
    deleted_status: int = 404
    outlasting: str = "applied"
    stepless: str = "completes"
    requests_per_second: int = 0
    version_paths: str = "own"
    token_ways: str = "documented"
    tokens_shared: bool = True
    old_codes: str = "named"
    filtered: str = "both"
    old_by_id: str = "same"
    status_patch: bool = False
    skip: str = "step"
    restart_from: str = "any"
    # Autodesk
    second_close: int | str = 403
    early_close: int = 403
    response_touches: str = "step"
    filter_zone: str = "UTC"
    lost_refresh: str = "dead"
    submittals_error: str = "title"
    default_limit: str = "documented"
    limit_range: str = "refused"
    next_url: str = "null"
    optional_tasks: str = "left"
    no_required: str = "all"
    rejection: str = "counts"
    on_behalf: str = "managers"
    hidden: str = "404, project 403"
    two_legged: int = 403
    prefixed_project: int = 400
    system_delay_ms: int = 130
    next_step: str = "at_once"
    timestamps: str = "mixed"
    new_round: str = "begins"
    return_for_review: str = "last"
    wrong_transition: int = 403
    dead_response: int | str = 400
    requests_per_minute: int = 600
    unknown_filter: int | str = 400
    token_error: str = "gateway"
    refresh_ends: str = "nothing"
    autodesk_outlasting: str = "applied"

    def turned(self, **changes: Any) -> "Switches":
        """These switches with some turned. Raises ValueError naming a switch or a value that does not exist."""
        rows = {row.switch: row for row in ASSUMPTIONS if row.switch}
        for name, value in changes.items():
            if name not in rows:
                raise ValueError(f"no switch {name!r}; there are {', '.join(sorted(filter(None, rows)))}")
            allowed = rows[name].values
            # True == 1 and False == 0 in Python, but not on a switch
            if allowed and not any(value == each and type(value) is type(each) for each in allowed):
                raise ValueError(f"{name} is one of {allowed}, not {value!r}")
            if not allowed and (type(value) is not int or value < 0):
                raise ValueError(f"{name} is a whole number, not {value!r}")
        return replace(self, **changes)


def table(switches: Switches) -> list[dict[str, Any]]:
    """Every assumption with the value in force, for people and for JSON."""
    now = asdict(switches)
    return [{**asdict(row), "values": list(row.values), "now": now.get(row.switch or "")} for row in ASSUMPTIONS]
