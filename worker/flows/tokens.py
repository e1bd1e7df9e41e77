"""Tokens that are renewed by a refresh token which is good for once: by one process at a time, for all (R1 to R5 in `core.renewal`).

The same sandwich as everywhere: take the lease and commit (T1), ask, write down what came of it (T2). Nobody gets to see a new token before
T2 is committed. Whoever needs one meanwhile goes on with the old one while it is good, and waits otherwise; a submission that waits uses no
attempt, because a look that could not be made is `Unknown`.

A process keeps access tokens in its vault and asks the ledger only when one is to be renewed or was refused.
"""

import time
from collections.abc import Callable, Iterable, Iterator

import structlog

from worker.core import renewal as rules
from worker.core.outcomes import Fact
from worker.core.renewal import DEADLINE, LEASE, Answer, Kept, Lost, Renewed, Unsent, Verdict
from worker.engine import Errand
from worker.errors import SettingsError
from worker.flows import Account, Runtime
from worker.flows.insist import insist
from worker.ledger.tokens import Found, Party, Settled
from worker.upstreams.base import Renewal, Token

log = structlog.get_logger()

GLANCE = 0.2
"""Seconds between two looks at the row while another process renews."""

LATER = 60.0
"""Seconds until a submission is looked at again that waits for a person: for a login, or for mended settings."""

UNUSED = 3_600.0
"""Seconds for which the tick lets tokens be that no grant of the settings uses."""


def ready(rt: Runtime, account: Account, grants: Iterable[str]) -> None:
    """See to it that requests as *grants* have a token, as far as that can be. Whoever asks without one is told why.

    Costs nothing while all is well. Renews where that is due, and waits for another process that does, for a turn at most. Raises
    LedgerDown; nothing that an upstream does.
    """
    wanted: dict[str, tuple[str, Renewal]] = {}
    for grant in sorted(set(grants) & set(account.grants)):
        renewal = account.connector.renewal(grant)
        if renewal is not None and not rt.vault.fresh(renewal.name):
            wanted[renewal.name] = grant, renewal
    end = time.monotonic() + rt.turn
    while wanted:
        wanted = {name: (grant, renewal) for name, (grant, renewal) in wanted.items() if _bring(rt, account, grant, renewal)}
        if not wanted or time.monotonic() > end or rt.stopping.wait(GLANCE):
            return


def readers(rt: Runtime, account: Account) -> tuple[str, ...]:
    """The grants of *account* by name, in a round that begins with the first whose consent stands: who looks, and who looks next. So all
    processes share one token and what it may see, and a grant that waits for its person hides nothing that another may see.

    Raises LedgerDown.
    """
    names = sorted(account.grants)
    first = next((n for n, grant in enumerate(names) if _stands(rt, account, grant)), 0)
    return (*names[first:], *names[:first])


def renew(rt: Runtime, _shard: str = "") -> bool:
    """Renew what nobody has needed for days, so that it does not die of silence, and try again what is degraded (R4). Raises LedgerDown."""
    unused = []
    for name in rt.ledger.tokens.due():
        users = list(_users(rt, name))
        if not users:
            unused.append(name)
            continue
        account, grant, renewal = users[0]
        try:
            _show(rt, account, grant, renewal, _renewed(rt, renewal, refused=None, idle=True))
        except SettingsError as exc:
            _lack(rt, account, grant, renewal, str(exc))
    rt.ledger.tokens.postpone(unused, UNUSED)
    return False


def store(rt: Runtime, account: Account, grant: str, answer: Renewed) -> Kept:
    """The tokens of a new consent: from now on all processes work with them. Raises LedgerDown, and SettingsError where there is no key to
    seal them with; nothing is stored then.
    """
    renewal = account.connector.renewal(grant)
    if renewal is None:
        raise ValueError(f"the tokens of grant {grant} of account {account.name} are not renewed")
    settled = insist(rt, lambda _: rt.ledger.tokens.store(renewal.name, answer, _parties(rt, renewal.name)), account=account.name)
    _tell(rt, settled)
    _show(rt, account, grant, renewal, settled.found)
    return settled.found.kept


def spend(rt: Runtime, account: Account, grant: str, use: Callable[[str], Answer]) -> bool:
    """Renew, though nothing is due, by *use* instead of the one request: it is given the refresh token and returns what is to be written
    down. For who wants to know how the upstream renews (`approvals verify`). False: not now, because they are too young (`AFRESH`), another
    process renews them, or there are none. Raises LedgerDown.
    """
    renewal = account.connector.renewal(grant)
    found = None if renewal is None else rt.ledger.tokens.find(renewal.name)
    if renewal is None or found is None:
        return False
    taken = rt.ledger.tokens.begin(renewal.name, refused=found.kept.generation)
    if isinstance(taken, Found):
        return False
    answer, parties, dice = use(taken.refresh), _parties(rt, renewal.name), rt.dice()
    settled = insist(rt, lambda _: rt.ledger.tokens.settle(taken, answer, parties, dice), whose=renewal.name)
    _tell(rt, settled)
    _show(rt, account, grant, renewal, settled.found)
    return True


def _bring(rt: Runtime, account: Account, grant: str, renewal: Renewal) -> bool:
    """Bring what the ledger has into the vault, renewed if that is due. True: another process renews, and there is no token until then."""
    refused = rt.vault.refused(renewal.name)
    try:
        found = rt.ledger.tokens.find(renewal.name)
        if found is not None and rules.verdict(found.kept, found.now, refused=refused) == "take":
            found = _renewed(rt, renewal, refused=refused)
    except SettingsError as exc:
        _lack(rt, account, grant, renewal, str(exc))
        return False
    if found is None:
        _lack(rt, account, grant, renewal, f"there is none yet: `approvals login --account {account.name} --as {grant}`")
        return False
    return _show(rt, account, grant, renewal, found) == "busy" and isinstance(rt.vault.token(renewal.name), Fact)


def _stands(rt: Runtime, account: Account, grant: str) -> bool:
    """Whether requests as *grant* have a token, or will have one without a person."""
    renewal = account.connector.renewal(grant)
    if renewal is None:
        return True
    ready(rt, account, [grant])
    if isinstance(rt.vault.token(renewal.name), Token):
        return True
    try:
        found = rt.ledger.tokens.find(renewal.name)
    except SettingsError:
        return False
    return found is not None and found.kept.state == "good"


def _renewed(rt: Runtime, renewal: Renewal, *, refused: int | None, idle: bool = False) -> Found:
    """Renew, unless somebody else has or does; what stands then."""
    leave_by = rt.engine.clock() + LEASE - DEADLINE  # read before the lease begins: a process that was stopped sends nothing late
    taken = rt.ledger.tokens.begin(renewal.name, refused=refused, idle=idle)
    if isinstance(taken, Found):
        return taken
    with rt.engine.bag() as bag:
        bag.put(None, Errand(renewal.ask(taken.refresh), None, DEADLINE, lost=Lost, unsent=Unsent, leave_by=leave_by))
        answer: Answer = bag.take()[0][1]
    parties, dice = _parties(rt, renewal.name), rt.dice()
    settled = insist(rt, lambda _: rt.ledger.tokens.settle(taken, answer, parties, dice), whose=renewal.name)
    if not isinstance(answer, Renewed):
        log.warning("tokens.not_renewed", whose=renewal.name, outcome=type(answer).__name__.lower(), fact=str(answer.fact))
    _tell(rt, settled)
    return settled.found


def _show(rt: Runtime, account: Account, grant: str, renewal: Renewal, found: Found) -> Verdict:
    """Put what stands into the vault, with what to tell where it cannot be used; what is left to do for it."""
    kept, now, name = found.kept, found.now, renewal.name
    rt.vault.keep(name, kept.generation, found.access, kept.access_until - now, kept.renew_at - now)
    refused = rt.vault.refused(name)
    verdict = rules.verdict(kept, now, refused=refused)
    wait = kept.next_at - now if kept.next_at else 0.0
    match verdict:
        case "over":
            _lack(rt, account, grant, renewal, f"{kept.detail}: `approvals login --account {account.name} --as {grant}`")
        case "busy":
            rt.vault.lack(name, Fact("token", text="it is being renewed"))
        case "early" | "take" if wait > 0:
            rt.vault.lack(name, Fact("token", text=kept.detail or "it has ended", retry_after=min(wait, LATER)))
        case "use" if refused == kept.generation:
            wait = kept.refreshed_at + rules.AFRESH - now
            rt.vault.lack(name, Fact("token", 401, text="a fresh token was refused", retry_after=max(wait, 1.0)))
        case _:
            rt.vault.lack(name, Fact("token", text="it has ended"))
    return verdict


def _lack(rt: Runtime, account: Account, grant: str, renewal: Renewal, why: str) -> None:
    """There is no token until a person does something. Logged once, as long as it stays the same."""
    if rt.vault.lack(renewal.name, Fact("token", text=why, retry_after=LATER)):
        log.error("tokens.missing", account=account.name, grant=grant, reason=why)


def _tell(rt: Runtime, settled: Settled) -> None:
    for event in settled.events:
        if event.type == "account.degraded":
            rt.alarm(event)
        else:
            log.info(event.type, **event.data)
    if settled.events:
        for sink in rt.sinks:
            rt.ring("emit", sink)


def _users(rt: Runtime, name: str) -> Iterator[tuple[Account, str, Renewal]]:
    """The grants of the settings that use these tokens: two projects may share one consent."""
    for account in rt.accounts.values():
        for grant in sorted(account.grants):
            renewal = account.connector.renewal(grant)
            if renewal is not None and renewal.name == name:
                yield account, grant, renewal


def _parties(rt: Runtime, name: str) -> list[Party]:
    return [Party(account.kind, account.name, grant, account.connector.realm) for account, grant, _ in _users(rt, name)]
