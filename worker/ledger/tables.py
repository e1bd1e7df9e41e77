"""All tables of the ledger. The constraints here are the last line of PROTOCOL: what the code gets wrong, the database refuses.

Times are seconds since the epoch on the ledger's clock. JSON columns hold what no query asks for.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

SHORT = sa.String(512)
"""Names, ids and keys: the longest that the wire takes is an upstream's task id."""

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("realm", SHORT, primary_key=True),
    sa.Column("task", SHORT, primary_key=True),
    sa.Column("kind", SHORT, nullable=False),
    sa.Column("account", SHORT, nullable=False),
    sa.Column("snapshot", sa.JSON),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("frozen", sa.Boolean, nullable=False),
    sa.Column("gone", sa.Integer, nullable=False),
    sa.Column("changed_at", sa.Double),
    sa.Column("look_at", sa.Double),  # B5: when to read it by itself, where no feed can be trusted to show what happens to it
    sa.Column("listed", sa.Double),
    sa.Column("notice_at", sa.Double),
    sa.Column("noticed", sa.JSON),  # what its due dates have told (core.due)
    # One slot for each task (A9): one column of its one row. And no submission can hold two.
    sa.Column("holder", SHORT, unique=True),
    sa.Index(
        "ix_tasks_look_at",
        "realm",
        "look_at",
        sqlite_where=sa.text("look_at IS NOT NULL"),
        postgresql_where=sa.text("look_at IS NOT NULL"),
    ),
    sa.Index("ix_tasks_unlisted", "realm", "look_at", sqlite_where=sa.text("listed = 0"), postgresql_where=sa.text("listed = 0")),
    sa.Index(
        "ix_tasks_notice_at", "notice_at", sqlite_where=sa.text("notice_at IS NOT NULL"), postgresql_where=sa.text("notice_at IS NOT NULL")
    ),
    sa.Index("ix_tasks_frozen", "realm", sqlite_where=sa.text("frozen"), postgresql_where=sa.text("frozen")),
)

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("id", SHORT, primary_key=True),
    sa.Column("account", SHORT, nullable=False),
    sa.Column("key", SHORT, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("realm", SHORT, nullable=False),
    sa.Column("task", SHORT, nullable=False),
    sa.Column("grant", SHORT, nullable=False),
    sa.Column("action", SHORT, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("behind", SHORT),
    sa.Column("next_at", sa.Double),
    sa.Column("claim", SHORT),
    sa.Column("sent", sa.Boolean, nullable=False),
    sa.Column("accepted_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("command", sa.JSON, nullable=False),
    sa.Column("progress", sa.JSON, nullable=False),
    sa.Column("links", sa.Integer, nullable=False),
    sa.Column("head", sa.String(64), nullable=False),
    sa.UniqueConstraint("account", "key"),  # A16
    sa.ForeignKeyConstraint(["realm", "task"], ["tasks.realm", "tasks.task"]),
    sa.CheckConstraint(
        "state IN ('pending','waiting','in_doubt','applied','refused','superseded','expired','cancelled','parked','misapplied',"
        "'duplicated','abandoned')",
        name="state",
    ),
    sa.CheckConstraint("state <> 'in_doubt' OR sent", name="in_doubt_was_sent"),
    sa.Index(
        "ix_submissions_due",
        "account",
        "next_at",
        sqlite_where=sa.text("next_at IS NOT NULL"),
        postgresql_where=sa.text("next_at IS NOT NULL"),
    ),
    sa.Index("ix_submissions_task", "realm", "task"),
    sa.Index("ix_submissions_behind", "behind", sqlite_where=sa.text("behind IS NOT NULL"), postgresql_where=sa.text("behind IS NOT NULL")),
    sa.Index("ix_submissions_state", "account", "state"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("submission", SHORT, sa.ForeignKey("submissions.id"), primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("began_at", sa.Double, nullable=False),
    sa.Column("quiet_until", sa.Double, nullable=False),
)

outcomes = sa.Table(  # An attempt gets its outcome once (A1): a second row is refused.
    "outcomes",
    metadata,
    sa.Column("submission", SHORT, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("quiet_until", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(["submission", "n"], ["attempts.submission", "attempts.n"]),
    sa.CheckConstraint("outcome IN ('applied','refused','unsent','in_doubt')", name="outcome"),
)

claims = sa.Table(  # One response is credited once (A10).
    "claims",
    metadata,
    sa.Column("realm", SHORT, primary_key=True),
    sa.Column("task", SHORT, primary_key=True),
    sa.Column("response", SHORT, primary_key=True),
    sa.Column("submission", SHORT, sa.ForeignKey("submissions.id"), nullable=False),
)

evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("submission", SHORT, sa.ForeignKey("submissions.id"), primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("public", sa.JSON, nullable=False),
    sa.Column("private", sa.JSON),
    sa.Column("salt", sa.String(64)),
    sa.Column("seal", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)

grants = sa.Table(  # A14: what is known of a grant; a changed acts_as is another row, unproven again.
    "grants",
    metadata,
    sa.Column("account", SHORT, primary_key=True),
    sa.Column("grant", SHORT, primary_key=True),
    sa.Column("acts_as", SHORT, primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.CheckConstraint("state IN ('proven','stopped')", name="state"),
)

accounts = sa.Table(  # What a person said last about an account; and which sunset was told of it. No row: the settings say it all.
    "accounts",
    metadata,
    sa.Column("name", SHORT, primary_key=True),
    sa.Column("said", sa.String(20)),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("by", SHORT, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("lifts", sa.Boolean, nullable=False),
    sa.Column("begun", sa.Integer, nullable=False),
    sa.Column("sunset", SHORT),
    sa.CheckConstraint("said IN ('paused','resumed')", name="said"),
)

tokens = sa.Table(  # Tokens of grants that are renewed by a refresh token; the two are sealed (`seal`). One row for all who share them.
    "tokens",
    metadata,
    sa.Column("name", SHORT, primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("refresh", sa.Text, nullable=False),
    sa.Column("access", sa.Text, nullable=False),
    sa.Column("access_until", sa.Double, nullable=False),
    sa.Column("refreshed_at", sa.Double, nullable=False),
    sa.Column("refresh_until", sa.Double, nullable=False),
    sa.Column("holder", SHORT),
    sa.Column("lease_until", sa.Double, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("fails", sa.Integer, nullable=False),
    sa.Column("next_at", sa.Double),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("episode", sa.Integer, nullable=False),
    sa.CheckConstraint("state IN ('good','degraded')", name="state"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", SHORT, nullable=False, unique=True),  # C2
    sa.Column("realm", SHORT, nullable=False),
    sa.Column("task", SHORT, nullable=False),
    sa.Column("sequence", sa.BigInteger),
    sa.Column("type", SHORT, nullable=False),
    sa.Column("source", SHORT, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.UniqueConstraint("realm", "task", "sequence"),  # C3
    sa.Index("ix_events_at", "at"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("sink", SHORT, primary_key=True),
    sa.Column("position", sa.BigInteger, sa.ForeignKey("events.position"), primary_key=True, autoincrement=False),
    sa.Column("realm", SHORT, nullable=False),
    sa.Column("task", SHORT, nullable=False),
    sa.Column("lane", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_at", sa.Double, nullable=False),
    sa.Column("detail", sa.Text),
    sa.CheckConstraint("state IN ('due','delivered','unbound','dead')", name="state"),
    sa.Index("ix_deliveries_due", "sink", "next_at", sqlite_where=sa.text("state = 'due'"), postgresql_where=sa.text("state = 'due'")),
    sa.Index(
        "ix_deliveries_task",
        "realm",
        "task",
        "position",
        sqlite_where=sa.text("state = 'due'"),
        postgresql_where=sa.text("state = 'due'"),
    ),
    sa.Index(
        "ix_deliveries_dead",
        "realm",
        "task",
        "position",
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    ),
)

tries = sa.Table(  # The history of what left by sinks that measure it: one row a try.
    "tries",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("sink", SHORT, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("took", sa.Double, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("excerpt", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(["sink", "position"], ["deliveries.sink", "deliveries.position"]),
    sa.Index("ix_tries_delivery", "sink", "position"),
    sa.Index("ix_tries_at", "at"),
)

sinks = sa.Table(  # What is known of a sink beyond its settings. No row: it works.
    "sinks",
    metadata,
    sa.Column("name", SHORT, primary_key=True),
    sa.Column("off", sa.Text, nullable=False),  # why nothing leaves by it; "" while it works
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("failing", sa.Double),
    sa.Column("pause_until", sa.Double, nullable=False),
    sa.Column("paid_until", sa.Double, nullable=False),  # the rate: what has been started is paid for until then
)

lanes = sa.Table(  # A relay leases lanes, not rows (C3).
    "lanes",
    metadata,
    sa.Column("sink", SHORT, primary_key=True),
    sa.Column("lane", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("holder", SHORT),
    sa.Column("until", sa.Double, nullable=False),
)

watches = sa.Table(
    "watches",
    metadata,
    sa.Column("id", SHORT, primary_key=True),
    sa.Column("account", SHORT, nullable=False),
    sa.Column("task", SHORT, nullable=False),  # "" for the account's whole feed, "*" for one that serves the watches of single tasks
    sa.Column("interval", sa.Double, nullable=False),
    sa.Column("next_at", sa.Double, nullable=False),
    sa.Column("claim", SHORT),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("cursor", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.UniqueConstraint("account", "task"),
    sa.Index("ix_watches_due", "next_at"),
)

budgets = sa.Table(  # B3: what may leave, for all processes together.
    "budgets",
    metadata,
    sa.Column("name", SHORT, primary_key=True),
    sa.Column("full_at", sa.Double, nullable=False),
    sa.Column("shut_until", sa.Double, nullable=False),
    sa.Column("rate", sa.Double),
    sa.Column("rated_at", sa.Double, nullable=False),
)

breakers = sa.Table(  # B4: whether an account's upstream answers. No row: it always has.
    "breakers",
    metadata,
    sa.Column("name", SHORT, primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_at", sa.Double, nullable=False),
    sa.Column("holder", SHORT),
    sa.Column("episode", sa.Integer, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.CheckConstraint("state IN ('closed','open')", name="state"),
)

clock = sa.Table(  # SQLite only: the ledger's clock is the boot-time clock plus an offset fixed once per boot (A4).
    "clock",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("boot", SHORT, nullable=False),
    sa.Column("offset", sa.Double, nullable=False),
)
