"""The wire: tokens, versions, shapes, lists."""

import base64
import json
from pathlib import Path

import pytest

from tests.published import EXAMPLE
from tests.sandbox.conftest import CODES, ERROR, ME, START, Api
from worker.sandbox.assumptions import ASSUMPTIONS, Switches, table
from worker.sandbox.exchange import Request
from worker.sandbox.faults import BENDING, DECIDING
from worker.sandbox.workiva import FAMILIES

TOO_LARGE = {"2026-01-01": "413Error", "2022-01-01": "Error"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_the_published_example_comes_back_as_published(api_of):
    """With the example's side of every contradiction: dueAt, user_id, whole seconds, a frozen `modified`, a REJECT that awaits."""
    api = api_of(wire="example", fractions=0, modified_user=False, modified_frozen=True, reject_status="Awaiting Approval")
    api.clock.at = 1572361407.0  # 2019-10-29T15:03:27Z
    task = api.make(
        id=EXAMPLE["id"],
        title=EXAMPLE["title"],
        description=EXAMPLE["description"],
        due=EXAMPLE["dueAt"],
        assignees=[EXAMPLE["assignees"][0]["id"]],
        steps=[{"participants": [p["id"] for p in EXAMPLE["approvalSteps"][0]["participants"]]}],
    )
    api.clock.at = 1686488400.0  # 2023-06-11T13:00:00Z
    answer = api.act(task, "REJECT", ME, "please refine")
    assert answer.status == 200
    shown = answer.json()
    assert {name: shown[name] for name in EXAMPLE} == {**EXAMPLE, "sourceUrl": shown["sourceUrl"]}
    assert set(shown) - set(EXAMPLE) == {"location", "notificationsDisabled", "owner"}  # schema fields that the example leaves out


@pytest.mark.parametrize(
    ("wire", "due", "author"),
    [("schema", {"dueDate"}, {"user"}), ("example", {"dueAt"}, {"user_id"}), ("both", {"dueDate", "dueAt"}, {"user", "user_id"})],
)
def test_16_the_two_shapes(wire, due, author, api_of):
    api = api_of(wire=wire)
    shown = api.act(api.make(due="2026-12-01T00:00:00Z"), "APPROVE").json()
    step = shown["approvalSteps"][0]
    assert {k for k in shown if k.startswith("due")} == due == {k for k in step if k.startswith("due")}
    assert set(step["responses"][0]["created"]) == {"dateTime", *author}


@pytest.mark.parametrize(("fractions", "expected"), [(0, ":40Z"), (3, ":40.123Z"), (6, ":40.123000Z")])
def test_17_precision(fractions, expected, api_of):
    api = api_of(fractions=fractions)
    api.clock.at = START + 20.123
    assert api.read(api.make())["modified"]["dateTime"].endswith(expected)


def test_17_precision_may_vary_from_answer_to_answer(api_of):
    api = api_of(fractions="vary")
    task = api.make()
    assert (
        len({len(api.read(task)["created"]["dateTime"]) for _ in range(6)} | {len(api.act(task, "APPROVE").json()["created"]["dateTime"])})
        > 1
    )


def test_18_modified_names_its_user_or_not(api_of):
    assert "user" in api_of().call("POST", "/tasks", {"title": "t"}).json()["modified"]
    assert "user" not in api_of(modified_user=False).call("POST", "/tasks", {"title": "t"}).json()["modified"]


# ---- tokens


@pytest.mark.parametrize("path", ["/workiva/oauth2/token", "/workiva/iam/v1/oauth2/token", "/oauth2/token"])
def test_a_token(api, path):
    raw = b"client_id=sandbox&client_secret=sandbox&grant_type=client_credentials"
    answer = api.workiva(Request.of("POST", path, FORM, raw))
    assert (answer.status, answer.json()["expires_in"], answer.json()["token_type"]) == (200, 599, "bearer")
    assert answer.json()["scope"] == "task:read task:write"


@pytest.mark.parametrize(
    ("path", "ways", "statuses"),
    [
        ("/iam/v1/oauth2/token", "documented", (200, 200)),
        ("/oauth2/token", "documented", (401, 400)),
        ("/oauth2/token", "any", (200, 200)),
    ],
)
def test_32_a_token_by_basic_and_by_json(path, ways, statuses):
    api = Api(token_ways=ways)
    basic = base64.b64encode(b"sandbox:somebody:sandbox").decode()
    raw = b"grant_type=client_credentials"
    by_basic = api.workiva(Request.of("POST", path, {**FORM, "Authorization": f"Basic {basic}"}, raw))
    body = json.dumps({"client_id": "sandbox", "client_secret": "sandbox", "grant_type": "client_credentials"}).encode()
    by_json = api.workiva(Request.of("POST", path, {"Content-Type": "application/json"}, body))
    assert (by_basic.status, by_json.status) == statuses


@pytest.mark.parametrize(("shared", "status"), [(True, 200), (False, 401)])
def test_33_a_token_of_the_other_versions_endpoint(version, shared, status):
    api = Api(next(v for v in FAMILIES if v != version), tokens_shared=shared)
    token = api.token()
    headers = {"Authorization": f"Bearer {token}", "X-Version": version}
    assert api.workiva(Request.of("GET", f"/workiva{FAMILIES[version].tasks}", headers)).status == status


@pytest.mark.parametrize(
    ("raw", "status", "error"),
    [
        (b"client_id=sandbox&client_secret=wrong&grant_type=client_credentials", 401, "invalid_client"),
        (b"client_id=nobody&client_secret=sandbox&grant_type=client_credentials", 401, "invalid_client"),
        (b"client_id=sandbox&client_secret=sandbox&grant_type=password", 400, "unsupported_grant_type"),
        (b"client_id=sandbox&client_secret=sandbox", 400, "invalid_request"),
        (b"client_id=sandbox&client_secret=sandbox&grant_type=client_credentials&scope=all", 400, "invalid_scope"),
    ],
)
def test_the_token_endpoint_has_errors_of_its_own(api, raw, status, error):
    answer = api.workiva(Request.of("POST", "/oauth2/token", FORM, raw))
    assert (answer.status, answer.json()["error"]) == (status, error)
    assert set(answer.json()) == {"error", "error_description", "error_uri"}


def test_a_token_acts_as_one_user_until_it_expires(api):
    task = api.make(steps=[{"participants": ["jane"]}])
    request = api.request("POST", f"/tasks/{task}/actionSubmission", {"action": "APPROVE"}, user="jane")
    read = api.request("GET", f"/tasks/{task}")
    api.clock.pass_(598)
    assert api.workiva(request).json()["approvalSteps"][0]["responses"][0]["created"]["user"]["id"] == "jane"
    api.clock.pass_(1)
    assert (api.workiva(read).status, api.workiva(read).json()["code"]) == (401, CODES[api.version][401])
    assert api.call("GET", "/tasks", headers={"Authorization": ""}).status == 401


def test_scopes(api):
    token = api.token(scope="task:read")
    headers = {"Authorization": f"Bearer {token}"}
    task = api.make()
    assert api.call("GET", f"/tasks/{task}", headers=headers).status == 200
    assert api.call("DELETE", f"/tasks/{task}", headers=headers).status == 403


# ---- versions, errors


@pytest.mark.parametrize(
    ("paths", "asked", "new", "old"),
    [
        ("own", "2026-01-01", 200, 404),
        ("own", "2022-01-01", 404, 200),
        ("own", None, 404, 200),
        ("own", "2031-01-01", 400, 400),
        ("any", "2026-01-01", 200, 200),
        ("any", "2022-01-01", 200, 200),
        ("any", None, 200, 200),
        ("any", "2031-01-01", 400, 400),
    ],
)
def test_23_and_31_the_version_routes_and_without_one_it_is_2022(paths, asked, new, old):
    api = Api(version_paths=paths)
    headers = {"Authorization": f"Bearer {api.token()}", **({"X-Version": asked} if asked else {})}
    answers = [api.workiva(Request.of("GET", f"/workiva{path}", headers)) for path in ("/tasks", "/prototype/platform/tasks")]
    assert [answer.status for answer in answers] == [new, old]
    shown = asked if asked in ERROR else "2026-01-01" if asked else "2022-01-01"
    assert all(set(answer.json()) == ERROR[shown] for answer in answers if answer.status >= 400)


def test_34_errors_of_the_old_version_may_have_the_new_codes():
    answer = Api("2022-01-01", old_codes="numbered").call("GET", "/tasks/unknown")
    assert (answer.json()["code"], set(answer.json())) == ("404NotFound", ERROR["2022-01-01"])


@pytest.mark.parametrize("query", ["$filter=status eq 'Created'", "$orderBy=title"])
def test_35_the_new_version_may_neither_filter_nor_sort(version, query):
    api = Api(version, filtered="old")
    assert (api.call("GET", f"/tasks?{query}").status, api.call("GET", "/tasks").status) == (400 if version == "2026-01-01" else 200, 200)


def test_36_the_old_version_may_have_no_single_task(version):
    api = Api(version, old_by_id="none")
    task, title = api.make(), [{"op": "replace", "path": "/title", "value": "U"}]
    wanted = 404 if version == "2022-01-01" else 200
    assert (api.call("GET", f"/tasks/{task}").status, api.call("PATCH", f"/tasks/{task}", title).status) == (wanted, 200)


def test_the_legacy_family_is_not_here(api):
    """It takes no actions [L-gen]."""
    headers = {"Authorization": f"Bearer {api.token()}", "X-Version": api.version}
    assert api.workiva(Request.of("GET", "/workiva/platform/v1/tasks", headers)).status == 404


def test_both_versions_show_one_task_in_the_same_words(api):
    """Model names apart, the schemas of the two versions are the same [P-obj][26-obj]; and the examples are [SEED][OAS]."""
    task = api.make(due="2026-12-01T00:00:00Z", location={"resource": "r", "segment": None})
    api.act(task, "APPROVE", comment="fine")
    token = {"Authorization": f"Bearer {api.token()}"}
    one, other = (
        api.workiva(Request.of("GET", f"/workiva{family.tasks}/{task}", {**token, "X-Version": version})).json()
        for version, family in FAMILIES.items()
    )
    assert one == other


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/tasks/{id}", {"title": "x"}, 404),
        ("GET", "/tasks/unknown", None, 404),
        ("POST", "/tasks/unknown/actionSubmission", {"action": "APPROVE"}, 404),
        ("POST", "/tasks/{id}/actionSubmission", {}, 400),
        ("POST", "/tasks/{id}/actionSubmission", b"{", 400),
        ("POST", "/tasks/{id}/actionSubmission", {"action": "APPROVE", "comment": 1}, 400),
        ("POST", "/tasks", {}, 400),
        ("POST", "/tasks", {"title": "x", "status": "Completed"}, 400),
        ("POST", "/tasks", {"title": "x", "approvalSteps": [{"completionMode": "SOME", "participants": [{"id": "a"}]}]}, 400),
        ("POST", "/tasks", {"title": "x", "approvalSteps": [{"completionMode": "ONE", "participants": []}]}, 400),
        ("POST", "/tasks", {"title": "x", "dueDate": "2026-01-01T00:00:00"}, 400),
        ("PATCH", "/tasks/{id}", [{"op": "replace", "path": "/status", "value": "Completed"}], 400),
        ("PATCH", "/tasks/{id}", [{"op": "test", "path": "/title", "value": "Review Document"}], 400),
        ("PATCH", "/tasks/{id}", {"title": "x"}, 400),
        ("POST", "/tasks", b" " * 10_485_761, 413),
    ],
)
def test_what_is_refused(api, method, path, body, status):
    answer = api.call(method, path.format(id=api.make()), body)
    assert (answer.status, api.workspace.journal) == (status, [])
    assert (set(answer.json()), answer.json()["code"]) == (ERROR[api.version], {**CODES[api.version], 413: TOO_LARGE[api.version]}[status])


def test_37_the_status_of_a_single_step_may_be_patched(api_of):
    """A task can then be complete without any response; one of several steps still cannot be moved so."""
    api = api_of(status_patch=True)
    one, two = api.make(), api.make(steps=[{"participants": [ME]}, {"participants": [ME]}])
    patch = [{"op": "replace", "path": "/status", "value": "Completed"}]
    done = api.call("PATCH", f"/tasks/{one}", patch)
    assert (done.status, done.json()["status"], done.json()["approvalSteps"][0]["responses"]) == (200, "Completed", [])
    again = api.call("PATCH", f"/tasks/{one}", [{"op": "replace", "path": "/status", "value": "Awaiting Approval"}])
    assert (again.json()["status"], api.workspace.tasks[one].round, api.workspace.tasks[one].active) == ("Awaiting Approval", 2, 0)
    assert api.call("PATCH", f"/tasks/{two}", patch).status == 400
    assert api.call("PATCH", f"/tasks/{one}", [{"op": "replace", "path": "/status", "value": "Sleeping"}]).status == 400
    assert [e.action for e in api.workspace.journal] == ["PATCH", "PATCH"]


def test_create_read_change_delete(api):
    step = {"completionMode": "ALL", "participants": [{"id": "a", "type": "USER"}], "dueDate": None}
    made = api.call("POST", "/tasks", {"title": "T", "status": "Created", "approvalSteps": [step], "dueDate": "2026-12-01T00:00:00Z"})
    assert made.status == 201
    task = made.json()["id"]
    assert (made.json()["status"], made.json()["owner"], made.json()["dueDate"]) == ("Created", ME, "2026-12-01T00:00:00Z")
    assert api.read(task) == made.json()
    patched = api.call("PATCH", f"/tasks/{task}", [{"op": "replace", "path": "/title", "value": "U"}])
    assert (patched.status, patched.json()["title"]) == (200, "U")
    assert api.act(task, "SUBMIT").json()["status"] == "Awaiting Approval"
    deleted = api.call("DELETE", f"/tasks/{task}")
    assert (deleted.status, deleted.body) == (204, b"")
    assert api.call("GET", f"/tasks/{task}").status == 404
    assert api.act(task, "APPROVE", "a").status == 404
    assert [e.action for e in api.workspace.journal] == ["CREATE", "PATCH", "SUBMIT", "DELETE"]


def test_every_answer_has_the_upstreams_date(api):
    assert api.call("GET", "/tasks").headers["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"


def test_29_a_standing_limit(api, api_of):
    api = api_of(requests_per_second=3)
    request = api.request("GET", "/tasks")
    assert [api.workiva(request).status for _ in range(3)] == [200, 200, 429]  # the token was the first
    assert api.workiva(request).headers["Retry-After"] == "1"
    api.clock.pass_(1)
    assert api.workiva(request).status == 200


# ---- lists


@pytest.fixture
def listed(api):
    for n, title in enumerate(["Annual report", "Budget", "O'Neill's control"]):
        api.clock.at = START + n
        api.make(
            id=f"t{n}",
            title=title,
            assignees=[f"u{n}"],
            status=["Created", "Awaiting Approval", "Completed"][n],
            steps=[{"participants": [ME, f"p{n}"]}],
            due=None if n == 2 else f"2026-12-0{n + 1}T00:00:00Z",
            location={"resource": "r1", "segment": f"s{n}"} if n else None,
        )
    return api


def ids(api: Api, query: str) -> list[str]:
    answer = api.call("GET", f"/tasks?{query}")
    assert answer.status == 200, answer.body
    return [task["id"] for task in answer.json()["data"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "t0 t1 t2"),
        ("$filter=status eq 'Awaiting Approval'", "t1"),
        ('$filter=status eq "Awaiting Approval"', "t1"),
        ("$filter=status eq Created", "t0"),
        ("$filter=title contains 'report'", "t0"),
        ("$filter=contains(title,'o''neill''s')", "t2"),
        ("$filter=taskType contains 'gen' and title contains 'b'", "t1"),
        ("$filter=assignees eq 'u1'", "t1"),
        ("$filter=assignees in ('u0','u2')", "t0 t2"),
        ("$filter=approvalSteps.participants in (p0, p1) and status eq 'Created'", "t0"),
        (f"$filter=approvalSteps.participants eq '{ME}'", "t0 t1 t2"),
        ("$filter=created.dateTime ge 2026-09-21T14:13:21Z", "t1 t2"),
        ("$filter=modified.dateTime gt '2026-09-21T14:13:21.000Z'", "t2"),
        ("$filter=modified.dateTime lt 2026-09-21T14:13:21Z", "t0"),
        ("$filter=modified.dateTime le 2026-09-21T14:13:21Z and modified.dateTime ge 2026-09-21T14:13:21Z", "t1"),
        ("$filter=modified.dateTime eq 2026-09-21T16:13:21%2B02:00", "t1"),
        ("$filter=dueDate le 2026-12-01T00:00:00Z", "t0"),
        ("$filter=location.resource eq 'r1' and location.segment eq 's2'", "t2"),
        ("$orderBy=modified.dateTime desc", "t2 t1 t0"),
        ("$orderBy=title", "t0 t1 t2"),
        ("$orderBy=dueDate asc", "t2 t0 t1"),
        ("$orderBy=status asc, title desc", "t1 t2 t0"),
        ("$orderBy=approvalSteps.participants", "t0 t1 t2"),
        ("$filter=title contains ' and '", ""),
    ],
)
def test_filters_and_orders(listed, query, expected):
    assert " ".join(ids(listed, query)) == expected


@pytest.mark.parametrize(
    "query",
    [
        "$filter=status eq 'Created' or status eq 'Completed'",
        "$filter=status in ('Created')",
        "$filter=title eq 'Budget'",
        "$filter=assignees contains 'u'",
        "$filter=owner eq 'x'",
        "$filter=status eq",
        "$filter=status eq 'Created' and",
        "$filter=title contains 'unclosed",
        "$filter=modified.dateTime ge yesterday",
        "$filter=modified.dateTime ge 2026-09-21T14:13:21",
        "$orderBy=assignees",
        "$orderBy=title sideways",
        "$maxpagesize=0",
        "$maxpagesize=1001",
        "$maxpagesize=ten",
        "$next=made-up",
    ],
)
def test_what_the_list_does_not_know(listed, query):
    answer = listed.call("GET", f"/tasks?{query}")
    assert (answer.status, answer.json()["code"]) == (400, CODES[listed.version][400])
    assert answer.json()["target"].startswith("$")


@pytest.mark.parametrize(("quotes", "good", "bad"), [("single", "'Created'", '"Created"'), ("bare", "Created", "'Created'")])
def test_19_quoting_may_be_stricter(quotes, good, bad, api_of):
    api = api_of(quotes=quotes)
    assert api.call("GET", f"/tasks?$filter=status eq {good}").status == 200
    assert api.call("GET", f"/tasks?$filter=status eq {bad}").status == 400


def test_pages_are_walked_by_their_links(listed):
    url, seen = "/tasks?$maxpagesize=2&$orderBy=title desc&$filter=modified.dateTime ge 2026-09-21T14:13:20Z", []
    answer = listed.call("GET", url).json()
    while True:
        seen += [task["id"] for task in answer["data"]]
        if "@nextLink" not in answer:
            break
        assert answer["@nextLink"].startswith(f"https://api.app.wdesk.com/workiva{listed.path('/tasks')}?$next=")
        answer = listed.call("GET", answer["@nextLink"].split("/workiva")[1]).json()
    assert seen == ["t2", "t1", "t0"]


def test_20_a_row_touched_between_two_pages_is_lost(listed):
    """Ascending pages by position: what was read moves to the end, and the next page begins one too late."""
    first = listed.call("GET", "/tasks?$maxpagesize=1&$orderBy=modified.dateTime").json()
    listed.clock.pass_(60)
    listed.call("PATCH", "/tasks/t0", [{"op": "replace", "path": "/title", "value": "touched"}])
    second = listed.call("GET", first["@nextLink"].split("/workiva")[1]).json()
    assert [task["id"] for task in second["data"]] == ["t2"]


def test_21_a_task_made_by_a_process_is_not_listed(listed):
    task = listed.make(process_made=True)
    assert task not in ids(listed, "")
    assert listed.read(task)["id"] == task
    assert listed.act(task, "APPROVE").status == 200


# ---- the assumptions themselves


def test_the_assumptions_are_numbered_and_their_switches_real():
    assert [row.number for row in ASSUMPTIONS] == list(range(1, len(ASSUMPTIONS) + 1))
    switches = {row.switch for row in ASSUMPTIONS if row.switch}
    assert switches == set(Switches.__dataclass_fields__)
    for row in ASSUMPTIONS:
        if row.values:
            assert getattr(Switches(), row.switch or "") == row.values[0]  # the first value is the default


@pytest.mark.parametrize(
    "switch", [{"wire": "other"}, {"nothing": 1}, {"modified_frozen": 1}, {"comment_limit": -1}, {"comment_limit": True}]
)
def test_a_switch_that_does_not_exist(switch):
    with pytest.raises(ValueError, match=next(iter(switch))):
        Switches().turned(**switch)


def test_the_page_shows_every_assumption_and_every_fault():
    page = Path(__file__).parents[2].joinpath("docs/sandbox.md").read_text(encoding="utf-8")
    for row in table(Switches()):
        assert f"| {row['number']} | {row['text']} | {row['why']} |" in page
        assert row["switch"] is None or f"`{row['switch']}`: " in page
    for what, does in {**DECIDING, **BENDING}.items():
        assert f"| `{what}` | {does} |" in page
