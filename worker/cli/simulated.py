"""Accounts that the sandbox answers: what `approvals up --sandbox` and the demo tell it of the settings' people, and their consents."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from worker.settings import AutodeskAccount, RefreshToken

if TYPE_CHECKING:
    from worker.sandbox.server import RunningSandbox
    from worker.settings import Settings

CONSENT = 15 * 86_400.0
"""Seconds that a refresh token lives [REFRESH]."""


def projects(settings: "Settings") -> Mapping[str, AutodeskAccount]:
    """The accounts that are projects of Autodesk's."""
    return {name: account for name, account in settings.accounts.items() if isinstance(account, AutodeskAccount)}


def settle(settings: "Settings", sandbox: "RunningSandbox", *, ended: bool = False) -> None:
    """Each project goes by its own id, the user of its last grant manages it, and each grant's user has consented, as after
    `approvals login`. *ended*: their access tokens are not good any more, as after a holiday.
    """
    from worker import bootstrap
    from worker.core.renewal import Renewed
    from worker.flows.tokens import store

    known = projects(settings)
    if not known:
        return
    rt = bootstrap.runtime(settings)
    try:
        for name, account in known.items():
            sandbox.sandbox.project.names.add(account.project_id)
            manager = [grant.acts_as for grant in account.grants.values()][-1:]
            for grant, s in account.grants.items():
                roles = ["1", "2"] if s.acts_as in manager else ["2"]
                sandbox.control("POST", "/autodesk/people", {"id": s.acts_as, "roles": roles})
                if isinstance(s, RefreshToken):
                    got = sandbox.control("POST", "/autodesk/grants", {"client_id": s.client_id, "user": s.acts_as})
                    lifetime = 0.0 if ended else float(got["expires_in"])
                    store(rt, rt.accounts[name], grant, Renewed(got["access_token"], lifetime, got["refresh_token"], CONSENT))
        if ended:
            sandbox.control("POST", "/tokens", {"expire": True})
    finally:
        bootstrap.close(rt)
