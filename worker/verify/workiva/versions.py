"""Two versions of one API: what each serves, and to whom. Each is asked with a token of its own endpoint, unless that is the question."""

from typing import Final

from worker.upstreams.workiva import VERSIONS
from worker.verify.verdict import CannotTell, Verdict, told, word
from worker.verify.workiva.task import ids
from worker.verify.workiva.trial import Trial, one

NEW, OLD = "2026-01-01", "2022-01-01"

CODES: Final = {400: "BadArgument", 403: "Forbidden", 404: "NotFound"}


def versions_are_routed(t: Trial) -> Verdict:
    """23. Whether the path of the one is served by the other is another number: without X-Version it has to be as with 2022-01-01."""
    task = t.make(one(t.me))
    url = t.url(task.id, NEW)
    unknown = t.ask(t.request("GET", url, version="1999-01-01")).status
    without = [t.ask(t.request("GET", t.url(task.id, v), version=None, token=t.token(OLD))).status for v in VERSIONS]
    old = [t.ask(t.request("GET", t.url(task.id, v), version=OLD, token=t.token(OLD))).status for v in VERSIONS]
    text = f"a version that does not exist: {unknown}; without X-Version {'as' if without == old else 'not as'} {OLD}"
    return told(unknown == 400 and without == old, text)


def versions_serve_their_own_paths(t: Trial) -> Verdict:
    """31."""
    task = t.make(one(t.me))
    as_old = t.ask(t.request("GET", t.url(task.id, NEW), version=OLD, token=t.token(OLD))).status
    as_new = t.ask(t.request("GET", t.url(task.id, OLD), version=NEW, token=t.token(NEW))).status
    return told((as_old, as_new) == (404, 404), f"/tasks as {OLD}: {as_old}; /prototype/platform/tasks as {NEW}: {as_new}")


def tokens_are_asked_for_as_documented(t: Trial) -> Verdict:
    """32."""
    t.token(NEW)
    t.token(OLD)

    given = {version: {way: t.token_by(version, way).status for way in ("json", "basic")} for version in (NEW, OLD)}
    text = "; ".join(f"{version}: {', '.join(f'{way} {status}' for way, status in ways.items())}" for version, ways in given.items())
    refused = all(400 <= status < 500 for status in given[NEW].values())
    return told(refused and set(given[OLD].values()) == {200}, text)


def tokens_are_shared(t: Trial) -> Verdict:
    """33."""
    task = t.make(one(t.me))
    statuses = [t.ask(t.request("GET", t.url(task.id, version), version=version, token=t.token(version))).status for version in (NEW, OLD)]
    if statuses != [200, 200]:
        raise CannotTell("a version does not show one task to a token of its own")
    crossed = {v: t.ask(t.request("GET", t.url(task.id, v), version=v, token=t.token(OLD if v == NEW else NEW))).status for v in (NEW, OLD)}
    text = "; ".join(f"{version} with a token of the other: {status}" for version, status in crossed.items())
    return told(set(crossed.values()) == {200}, text)


def old_errors_are_named(t: Trial) -> Verdict:
    """34."""
    _served(t, OLD)
    seen, holds = [], True
    for request in (t.of(OLD, "GET", t.url("no-such-task", OLD)), t.of(OLD, "POST", t.root(OLD), {"description": "without a title"})):
        answer = t.ask(request)
        if answer.status not in CODES or not isinstance(answer.body, dict):
            continue
        more = sorted({"documentationUrl", "version"} & set(answer.body))
        holds = holds and answer.body.get("code") == CODES[answer.status] and not more
        seen.append(f"{answer.status}: {word(answer.body.get('code'))}, {' and '.join(more) or 'nothing'} beside")
    if not seen:
        raise CannotTell("none of the errors that the check knows was answered")
    return told(holds, "; ".join(seen))


def both_list_by_the_same_rules(t: Trial) -> Verdict:
    """35."""
    title = t.title()
    task = t.make(one(t.me), title=title)
    seen = {}
    for version in (NEW, OLD):
        try:
            t.until_listed(title, 1, version)
        except CannotTell:
            seen[version] = "no task is found by its title"
            continue
        asked = {"filter": t.quoted(title, version), "orderBy": "modified.dateTime desc"}
        found = ids(t.ask(t.listing(version, **asked, maxpagesize="1000"))) == [task.id]
        above = t.ask(t.listing(version, **asked, maxpagesize="1001"))
        seen[version] = f"pages of 1000 {'are listed' if found else 'are not listed'}, of 1001 {'refused' if above.refused else 'taken'}"
    if len(set(seen.values())) == 1 and "listed" not in seen[OLD]:
        raise CannotTell("in neither version a task is found by its title")
    text = "; ".join(f"{version}: {how}" for version, how in seen.items())
    return told(set(seen.values()) == {"pages of 1000 are listed, of 1001 refused"}, text)


def old_version_has_single_tasks(t: Trial) -> Verdict:
    """36."""
    _served(t, OLD)
    made = t.post(one(t.me), version=OLD)
    read = t.ask(t.of(OLD, "GET", t.url(made.task.id, OLD))).status
    deleted = t.delete(made.task, OLD).status
    return told((made.status, read, deleted) == (201, 200, 204), f"POST: {made.status}, GET: {read}, DELETE: {deleted}")


def status_moves_by_actions_only(t: Trial) -> Verdict:
    """37."""
    single = t.patch(t.make(one(t.me)), status="Completed")
    several = t.patch(t.make(one(t.me), one(t.me)), status="Completed")
    return told(single.refused and several.refused, f"PATCH of /status with one step: {single.status}; with two: {several.status}")


def _served(t: Trial, version: str) -> None:
    """A version that is not served (any longer) says nothing about its rules."""
    answer = t.ask(t.listing(version, filter=t.quoted(t.label, version), maxpagesize="1"))
    if not answer.ok:
        raise CannotTell(f"{version} does not list: {answer.status}")
