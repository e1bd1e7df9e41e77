"""What a list shows: filters, pages, whose tasks."""

import httpx

from worker.verify.answers import Answer
from worker.verify.verdict import CannotTell, Verdict, told
from worker.verify.workiva.task import Task, ids
from worker.verify.workiva.trial import Trial, one


def literals_are_read(t: Trial) -> Verdict:
    """19. Each form has to find the one task that it fits."""
    title = t.title()
    task = t.make(one(t.me), title=f"{title} it's")
    t.until_listed(title, 1)
    forms = {
        "single quotes": f"title contains '{title}'",
        "double quotes": f'title contains "{title}"',
        "no quotes": f"title contains {title}",
        "a doubled quote": f"title contains '{title} it''s'",
        "contains()": f"contains(title,'{title}')",
        "capitals": f"title contains '{title.upper()}'",
        "in": f"title contains '{title}' and approvalSteps.participants in ('{t.me.user}','{t.people[-1].user}')",
    }
    unread = {name: _told(t.ask(t.listing(filter=form)), task) for name, form in forms.items()}
    unread = {name: why for name, why in unread.items() if why}
    return told(not unread, "; ".join(f"{name}: {why}" for name, why in unread.items()) or "every form is read")


def _told(answer: Answer, task: Task) -> str:
    """What is wrong with a list that should show this task alone."""
    found = ids(answer)
    if found is None:
        return str(answer.status)
    return "" if found == [task.id] else f"{len(found)} rows"


def next_is_a_position(t: Trial) -> Verdict:
    """20. Two pages of two; between them the first task is touched, which moves it to the end."""
    title = t.title()
    made = []
    for n in range(4):
        made.append(t.make(one(t.me), title=f"{title} {n}"))
        t.pause()
    t.until_listed(title, 4)
    asked = {"filter": t.quoted(title), "orderBy": "modified.dateTime asc", "maxpagesize": "2"}
    first = t.ask(t.listing(**asked))
    link = first.body.get("@nextLink") if isinstance(first.body, dict) else None
    if ids(first) != [made[0].id, made[1].id] or not isinstance(link, str):
        raise CannotTell("a list in order of change does not begin with the oldest two")
    if not t.patch(made[0], description="touched").ok:
        raise CannotTell("a task could not be touched")
    second = ids(t.ask(t.request("GET", _own(t, link))))
    if second is None:
        raise CannotTell("the next page cannot be read")
    lost = sum(task.id not in second for task in made[2:])
    order = ids(t.ask(t.listing(filter=t.quoted(title)))) == [task.id for task in made]
    text = f"of the two tasks of the second page {lost} lost when one of the first was touched; without $orderBy "
    return told(lost == 1 and order, text + ("in order of creation" if order else "in another order"))


def _own(t: Trial, link: str) -> str:
    """A link, if it stays where the token may go."""
    home = httpx.URL(t.wire.base)
    url = home.join(link)
    if (url.scheme, url.host, url.port) != (home.scheme, home.host, home.port) or url.userinfo:
        raise CannotTell("the next page is on another host")
    return str(url)


def process_tasks_are_not_listed(t: Trial) -> Verdict:
    """21. Beside a task of our own with such a title, so that a list which lags shows neither or both."""
    if not t.process_made:
        raise CannotTell("needs a task that a process made: name one, and say --process-made")
    read = t.ask(t.request("GET", t.url(t.named)))
    if not read.ok:
        return told(False, f"GET by id: {read.status}")
    title = t.title()
    patched = t.patch(read.task, title=f"{title} a")
    if not patched.ok:
        return told(False, f"GET by id: {read.status}; PATCH: {patched.status}")
    t.make(one(t.me), title=f"{title} b")
    acted = t.act(read.task, "SUBMIT" if read.task.status == "Created" else "RESTART").status
    t.pause()
    listed = t.named in (ids(t.ask(t.listing(filter=t.quoted(title)))) or ())
    if not listed:
        t.until_listed(title, 1)
    text = f"GET: {read.status}, PATCH: {patched.status}, an action: {acted}, {'listed' if listed else 'not listed'}"
    return told(acted == 200 and not listed, text)


def everyone_sees_everything(t: Trial) -> Verdict:
    """22."""
    title = t.title()
    task = t.make(one(t.me), title=title)
    t.until_listed(title, 1)
    read = t.read(task, t.other).status
    rows = len(ids(t.ask(t.listing(filter=t.quoted(title)), t.other)) or ())
    return told((read, rows) == (200, 1), f"somebody without a part in a task: GET {read}, listed {rows} times")
