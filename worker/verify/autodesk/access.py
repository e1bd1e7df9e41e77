"""What is answered to who may not, or asks for what is not there."""

from typing import Any, Final

import httpx

from worker.upstreams.auth import AUTHENTICATION, SCOPE
from worker.verify.answers import Answer, an_object
from worker.verify.autodesk.trial import SUBMITTALS, Trial
from worker.verify.verdict import CannotTell, Verdict, told, word

NOWHERE: Final = "00000000-0000-4000-8000-000000000000"
"""An id that nothing has."""


def errors_have_title_and_detail(t: Trial) -> Verdict:
    """45."""
    answer = t.get(t.url(NOWHERE))
    if not answer.refused:
        raise CannotTell(f"an item that does not exist is answered {answer.status}")
    seen = _shape(answer, "title", "detail", "message", "code", "errors", "error", "developerMessage")
    return told(seen == "title, detail", f"a {answer.status} of Submittals: {seen}")


def what_is_hidden_is_not_found(t: Trial) -> Verdict:
    """53."""
    project = t.get(f"{t.wire.base}{SUBMITTALS}{NOWHERE}/items", {"limit": "1"}).status
    text = f"a project that does not exist: {project}"
    if project != 403:
        return told(False, text)
    stranger = next((person for person in t.people if person not in t.managers), None)
    draft = next((item for item in [t.named, *t.usable] if t.state(item) == "draft"), None)
    if stranger is None or draft is None:
        raise CannotTell(f"{text}; a draft to who is no manager: needs a draft (--task or --use) and a grant of such a user")
    hidden = t.get(t.url(draft), who=stranger).status
    return told(hidden == 404, f"{text}; a draft to who is no manager: {hidden}")


def user_is_needed(t: Trial) -> Verdict:
    """54. The secret goes to the account's own address, as it always does."""
    client = t.connector.grants[t.me.grant]
    if not client.client_secret:
        raise CannotTell("needs an app with a secret")
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": client.client_secret}
    got = _token(t, {**form, "scope": SCOPE})
    token = an_object(got.body).get("access_token")
    if not got.ok or not isinstance(token, str):
        raise CannotTell(f"the app gets no token of its own: {got.status}")
    answer = t.listed(t.named, token=token)
    code = word(an_object(answer.body).get("errorCode"))
    return told((answer.status, code.upper()) == (403, "AUTH-010"), f"a token without a user: {answer.status}, {code}")


def prefix_is_refused(t: Trial) -> Verdict:
    """55."""
    status = t.get(f"{t.wire.base}{SUBMITTALS}b.{t.connector.project_id}/items", {"filter[id]": t.named}).status
    return told(status == 400, f"a project id with b. before it: {status}")


def dead_response_is_refused(t: Trial) -> Verdict:
    """62."""
    review = t.review("has a task in its first step for a user of the grants", lambda look: any(map(t.closer, look.steps[0].tasks)))
    task = next(task for task in review.steps[0].tasks if t.closer(task))
    unknown = t.close(review.id, task, response=NOWHERE).status
    text = f"a responseId that is unknown: {unknown}"
    if unknown != 400:
        return told(False, text)
    try:
        dead = t.reply(approves=True, active=False)
    except CannotTell:
        raise CannotTell(f"{text}; one that is no longer active: the project has none") from None
    status = t.close(review.id, task, response=dead).status
    return told(status == 400, f"{text}; one that is no longer active: {status}")


def token_errors_begin_with_the_word(t: Trial) -> Verdict:
    """65. By a refresh token that is nobody's."""
    client = t.connector.grants[t.me.grant]
    form = {"grant_type": "refresh_token", "refresh_token": "nobody's", "client_id": client.client_id}
    answer = _token(t, form | ({"client_secret": client.client_secret} if client.client_secret else {}))
    if not answer.refused:
        raise CannotTell(f"a refresh token that does not exist is answered {answer.status}")
    seen = _shape(answer, "developerMessage", "error", "error_description")
    said = an_object(answer.body).get("developerMessage")
    begins = isinstance(said, str) and said.startswith("invalid_grant")
    text = f"a {answer.status} of the token endpoint: {seen}" + (", which begins with invalid_grant" if begins else "")
    return told(seen == "developerMessage" and begins, text)


def _token(t: Trial, form: dict[str, Any]) -> Answer:
    request = httpx.Request("POST", f"{t.wire.base}{AUTHENTICATION}/token", data=form, headers={"Accept": "application/json"})
    return t.asked(lambda: t.wire.send(request, None))


def _shape(answer: Answer, *names: str) -> str:
    """Which of these names an error has: names that are published somewhere, and nothing else of it."""
    if not answer.raw:
        return "an empty body"
    if not isinstance(answer.body, dict):
        return "no JSON object"
    return ", ".join(name for name in names if name in answer.body) or "other names"
