"""approval-worker: each approval takes effect at most once, or is parked with its evidence.

Celery rings, the ledger carries state, the core decides. A Celery message names a verb and a shard, never a fact; a
submission, a task, an event is a row; what to do with it is decided by pure functions. Losing, doubling or delaying a
message is harmless, and a restart of everything loses nothing.

Read in this order:

    core/submission   how one submission lives, from pending to final: the heart
    core/task         one upstream task in our own shape, and what it tells when it is looked at
    flows/submit      the sandwich: read rows, decide, send between two transactions, write what came of it
    ledger/           all the SQL there is
    upstreams/        one file an upstream: what to send, and what an answer means
    engine            the one event loop of a process: requests in, answers out
    tasks, app        what rings
    bootstrap         what is put together with what

    verify/           beside all this: what the sandbox assumes of a live upstream, tried out

Arrows point down only, and the contracts in ``pyproject.toml`` hold them to it:

    cli | tasks  >  up  >  console  >  app | intake  >  bootstrap | health  >  flows | verify
        >  engine | upstreams | ledger | sinks | wire | rings | catalogue  >  core  >  errors | broker

Words:

    account      one Workiva workspace: it owns the feed, the budget, the breaker
    grant        one user's authorisation in an account; it acts as exactly one upstream user
    task         the upstream's approval task; ours are always called Celery tasks
    snapshot     one task as seen at one moment, in our own shape
    submission   one requested decision: key, account, grant, task, action, comment, pin
    pin          the step and round a submission is meant for; it comes with the command
    attempt      one sending of a submission, with its evidence
    exposed      a submission whose user may also answer a later step: the only kind a race can misapply
    watch        something that is polled: one task, or an account's feed
    event        a fact that others are told; its id is derived from the fact
    sink         a way out for events
    ring         a Celery message: a verb and a shard
    wave         the answers that came back during the last commit, decided and committed together
"""

__version__ = "0.1.0"
