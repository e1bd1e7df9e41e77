"""`approvals login`: a person consents, once, that a grant acts as they, and the tokens are stored.

The consent is proved before anything is stored: the upstream says whose it is, and another user's is refused (A14). The code in the
redirect is good for once, for whoever holds the verifier, and the verifier leaves this process only in the exchange.
"""

import secrets
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

import click

from worker.cli import output
from worker.cli.session import SECONDS, TIMED_OUT, USAGE, Failure, Session, session

if TYPE_CHECKING:
    from worker.core.renewal import Kept, Renewed
    from worker.flows import Account, Runtime
    from worker.upstreams.base import Consent, Token

PORT: Final = 8721
"""Fixed, because the redirect address has to be registered with the app beforehand, port and all."""


@click.command()
@click.option("--account", help="Which account; needed where there are several.")
@click.option("--as", "grant", metavar="GRANT", help="Which grant; needed where there are several.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_default=True,
    help="Of the redirect address http://127.0.0.1:PORT/callback, which has to be registered with the app.",
)
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
@click.option("--paste", is_flag=True, help="For a machine without a browser: open the address elsewhere, and paste where it ended.")
@click.option("--within", type=SECONDS, default=300.0, show_default="5m", help="How long to wait for the browser.")
@output.as_json
@session
def login(
    s: Session, account: str | None, grant: str | None, port: int, no_browser: bool, paste: bool, within: float, as_json: bool
) -> None:
    """Ask the user of a grant for consent, in a browser, and store the tokens encrypted: Autodesk's `flow = "refresh_token"`.

    Needed once for each grant, and again when `account.degraded` says so. Workers that run take the new tokens up within a minute.
    """
    from worker.core.times import iso

    name = s.account(account)
    with s.runtime() as rt:
        asks = _Login(rt, rt.accounts[name], s.grant(rt.accounts[name], grant))
        kept = asks.pasted(port) if paste else asks.served(port, within, browser=not no_browser)
    ends = iso(kept.refresh_until)
    about = {"account": name, "grant": asks.grant, "acts_as": asks.acts_as, "access_until": iso(kept.access_until), "refresh_until": ends}
    lines = [
        f"grant {name}/{asks.grant} is logged in: it acts as {asks.acts_as}",
        f"its tokens are stored encrypted, and renewed by the workers; if nothing renews them, they end on {ends}",
    ]
    output.document(as_json, about, lines)


@dataclass(frozen=True, slots=True)
class _Login:
    """One login of one grant. Its verbs return what was stored, or raise Failure, and then nothing was."""

    rt: "Runtime"
    account: "Account"
    grant: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(64), repr=False)

    @property
    def name(self) -> str:
        return f"{self.account.name}/{self.grant}"

    @property
    def acts_as(self) -> str:
        return self.account.grants[self.grant]

    def served(self, port: int, within: float, *, browser: bool) -> "Kept":
        """By the redirect to this machine."""
        from worker.cli.loopback import FAILED, Ended, Loopback, redirect

        consent = self.begun(redirect(port))
        try:
            loopback = Loopback(port)
        except OSError as exc:
            todo = "end what listens there, or register another --port with the app"
            raise Failure(f"port {port} of 127.0.0.1 cannot be had ({exc.strerror}): {todo}") from exc
        try:
            self.introduce(consent, port)
            if browser and not webbrowser.open(consent.address):
                output.aside("no browser could be opened here: open the address yourself, or try --paste")
            back = loopback.wait(self.state, within)
            if back is None:
                raise Failure(f"nobody came back within {within:g} s: nothing was stored. Is {redirect(port)} registered?", TIMED_OUT)
            ended = FAILED
            try:
                kept = self.stored(consent, back.query)
                whose = f"Grant {self.name} acts as {self.acts_as} from now on."
                ended = Ended(True, "You are logged in", (whose, "Its tokens are stored encrypted, and renewed by the workers."))
            except Failure as failure:
                ended = Ended(False, "Not logged in", (f"{failure.message[:1].upper()}{failure.message[1:]}.",))
                raise
            finally:
                back.show(ended)
        finally:
            loopback.close()
        return kept

    def pasted(self, port: int) -> "Kept":
        """By hand."""
        from worker.cli.loopback import redirect

        consent = self.begun(redirect(port))
        self.introduce(consent, port)
        output.aside("The browser ends on a page that cannot be shown. Paste the whole address of that page:")
        try:
            text = click.prompt("address", prompt_suffix="> ", err=True)
        except click.Abort:
            raise Failure("nothing was pasted: nothing was stored") from None
        return self.stored(consent, dict(parse_qsl(urlsplit(text.strip()).query, keep_blank_values=True)))

    def begun(self, redirect: str) -> "Consent":
        """The consent that is asked for."""
        made = self.account.connector.consent(self.grant, redirect, self.state, self.verifier)
        if made is None:
            why = "it fetches its tokens by itself, with what stands in the settings"
            raise Failure(f"grant {self.name} needs no login: {why}. `approvals doctor` says whether that works", USAGE)
        return made

    def introduce(self, consent: "Consent", port: int) -> None:
        """What the person is to do."""
        from worker.cli.loopback import redirect

        output.aside(f"Log in as {self.acts_as}, and allow grant {self.name} to act as that user:")
        output.aside(f"  {consent.address}")
        output.aside(f"The app has to have this callback URL registered: {redirect(port)}")

    def stored(self, consent: "Consent", back: Mapping[str, str]) -> "Kept":
        """Exchange, prove, store."""
        from worker.cli.upstream import asked
        from worker.core.outcomes import Fact, Unknown
        from worker.flows.tokens import store

        code = consent.code(back)
        if isinstance(code, Fact):
            said = ": ".join(filter(None, (code.code, code.text)))
            raise Failure(f"no consent was given ({said}): nothing was stored")
        deadline = self.account.rules.deadline
        got: Renewed | Fact | Unknown = asked(self.rt, consent.exchange(code), None, deadline)
        if isinstance(got, Fact | Unknown):
            fact = got.fact if isinstance(got, Unknown) else got
            todo = "check client_id and client_secret" if fact.status in {400, 401, 403} else "check base_url, network and proxy"
            raise Failure(f"there was a consent, but no token for it ({fact}): nothing was stored; {todo}, then log in again")
        me = asked(self.rt, self.account.connector.whoami(), _Fresh(got), deadline)
        if not isinstance(me, str):
            todo = "is the user a member of the project, and has the project's account let the app in?"
            raise Failure(f"it cannot be proved whose consent this is ({getattr(me, 'fact', 'nobody says')}): nothing was stored; {todo}")
        if me != self.acts_as:
            todo = f"log in as {self.acts_as} (a private window asks anew), or set acts_as to {me}"
            raise Failure(f"this is the consent of {me}, but grant {self.name} acts as {self.acts_as}: nothing was stored; {todo}")
        return store(self.rt, self.account, self.grant, got)


class _Fresh:
    """Credentials of the tokens that were just given, before they are anywhere else."""

    name = "login"

    def __init__(self, given: "Renewed") -> None:
        from worker.upstreams.base import Token

        self._token = Token(given.access, given.lifetime)

    def fetch(self) -> Any:
        """Nobody is asked."""
        yield from ()
        return self._token

    def held(self) -> "Token":
        """The access token."""
        return self._token

    def refused(self, token: "Token") -> None:
        """Then it is no proof."""
