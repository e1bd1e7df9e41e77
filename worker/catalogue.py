"""The catalogue of events: what stands in each, as models, and the AsyncAPI 3 document and JSON Schemas that are made of them.

The events themselves are made in the core, of plain values. The failure is a document that tells something else: so the suite holds every
event that it produces against these models, closed, and every change of a model against its version (`core/events.VERSIONS`). What is
published is open: a field may be added at any time, and whoever reads events passes over what he does not know.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal, cast

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import models_json_schema

from worker import __version__
from worker.core.events import TYPES, VERSIONS, dataschema

Texts = Annotated[list[str | None], Len(2, 2)]
Times = Annotated[list[float | None], Len(2, 2)]
"""What was, what is."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Submitted(_Data):
    """The submission behind it."""

    id: str
    key: str
    labels: dict[str, str] = Field(description="as they came with the command")


class Answer(_Data):
    """One person's answer."""

    actor: str | None = Field(description="the upstream's id of the user; null where it cannot be read")
    action: str = Field(description="approve, reject, skip, close")
    comment: str | None
    at: datetime | None = Field(description="the upstream's time")
    part: str | None = Field(default=None, description="the upstream's task within the step")
    response: str | None = Field(default=None, description="the label of what was chosen")
    submission: str | None = Field(default=None, description="the id of the submission that it is credited to")


class NumberedAnswer(Answer):
    """One person's answer, with its step."""

    step: int


class Part(_Data):
    """One of the upstream's tasks within a step."""

    task: str = Field(description="what a command for it has as its task")
    assigned: str
    required: bool


class PlannedStep(_Data):
    """A step before anybody answered."""

    participants: list[str]
    mode: str
    due: float | None = Field(description="seconds since the epoch")
    parts: list[Part] | None = None


class Changes(_Data):
    """Name -> what was, what is."""

    title: Texts | None = None
    status: Texts | None = None
    due: Times | None = Field(default=None, description="seconds since the epoch")
    assignees: Annotated[list[list[str]], Len(2, 2)] | None = None
    steps: Annotated[list[list[PlannedStep]], Len(2, 2)] | None = None


class _OfTask(_Data):
    account: str
    task: str
    title: str | None = None
    url: str | None = None
    round: int = Field(description="how often the steps were begun; 1 at first")


class _Disputed(_OfTask):
    submission: Submitted | None = None
    disputed: Literal[True] | None = Field(default=None, description="one of our responses was not meant for this step")


class StepOpened(_OfTask):
    """A step waits for its participants now."""

    step: int
    step_count: int
    participants: list[str]
    due: datetime | None
    pin: str = Field(description="what a command for this step brings")
    parts: list[Part] | None = None


class StepCompleted(_Disputed):
    """A step has all the answers it needs, or the upstream says that it is over."""

    step: int
    step_count: int
    outcome: Literal["approved", "skipped", "rejected", "closed"]
    next_pin: str | None = Field(description="what a command for the next step brings")
    responses: list[Answer]


class ResponseRecorded(_Disputed):
    """One person answered a step."""

    step: int
    response: Answer


class TaskCompleted(_OfTask):
    """The process ended with success."""

    status: str | None
    response: Answer | None = None


class TaskRestarted(_OfTask):
    """A new round: responses went away. They are here, because the upstream has forgotten them."""

    responses: list[NumberedAnswer]


class TaskChanged(_OfTask):
    """Something changed that is neither a response nor a step's progress."""

    changes: Changes


class TaskDue(_OfTask):
    """A due date comes, or has passed, while an approval is awaited: the task's, or its active step's."""

    due: datetime
    step: int | None = Field(description="null: the task as a whole")
    step_count: int
    participants: list[str] | None = Field(default=None, description="of the step")


class TaskGone(_OfTask):
    """The upstream does not show the task any more."""


class Transition(_Data):
    """Where the submission leads the task."""

    state: str


class Submission(_OfTask):
    """What became of a command."""

    submission: Submitted
    action: str
    part: str | None = None
    transition: Transition | None = None
    step: int | None
    grant: str
    reason: str | None
    attempts: int = Field(description="requests that were begun so far")
    requested_by: str | None
    evidence: str | None = Field(default=None, description="the head of the chain of evidence")


class CommandRejected(_Data):
    """A command could not be accepted."""

    reason: str
    key: str | None
    message_id: str | None
    size: int = Field(description="bytes")
    digest: str = Field(description="SHA-256 of the message, hex")
    excerpt: str = Field(description="up to 2 KiB of the message")


class GrantMisconfigured(_Data):
    """The upstream shows another author than the settings: the grant is stopped."""

    account: str
    grant: str
    acts_as: str
    author: str | None


class AccountDegraded(_Data):
    """What is sent as a grant waits, because its tokens are not renewed; or the whole account, because its upstream does not answer."""

    account: str
    grant: str | None = Field(default=None, description="whose tokens; left out where it is the upstream")
    reason: str
    todo: str


class AccountRecovered(_Data):
    """The end of what `account.degraded` told."""

    account: str
    grant: str | None = Field(default=None, description="as in what it ends")


class SunsetApproaching(_Data):
    """The account's API version ends."""

    account: str
    api_version: str
    sunset: date
    days_left: int = Field(description="negative after the day")
    todo: str


class SinkDisabled(_Data):
    """Nothing leaves by a sink any more, until a person enables it."""

    sink: str
    reason: str
    failing_since: datetime | None


class SinkTest(_Data):
    """Somebody tries a sink."""

    sink: str


DATA: Mapping[str, type[_Data]] = {
    "step.opened": StepOpened,
    "step.completed": StepCompleted,
    "response.recorded": ResponseRecorded,
    "task.completed": TaskCompleted,
    "task.restarted": TaskRestarted,
    "task.changed": TaskChanged,
    "task.due_soon": TaskDue,
    "task.overdue": TaskDue,
    "task.gone": TaskGone,
    **{type_: Submission for type_ in TYPES if type_.startswith("submission.")},
    "command.rejected": CommandRejected,
    "grant.misconfigured": GrantMisconfigured,
    "account.degraded": AccountDegraded,
    "account.recovered": AccountRecovered,
    "account.sunset_approaching": SunsetApproaching,
    "sink.disabled": SinkDisabled,
    "sink.test": SinkTest,
}
"""Event type -> what stands under `data`."""


class Envelope(BaseModel):
    """What CloudEvents 1.0 asks for, and the extensions that are in use."""

    model_config = ConfigDict(extra="forbid")

    specversion: Literal["1.0"]
    id: str = Field(description="a digest of the fact: the same fact has the same id, whoever tells it, and however often")
    source: str = Field(description="/<upstream>/<account>, for example /workiva/finance")
    subject: str = Field(description="the upstream's task, or what else it is about")
    time: datetime
    datacontenttype: Literal["application/json"]
    sequence: str | None = Field(default=None, pattern=r"^\d+$", description="counts the events of one subject without gaps")
    setaside: str | None = Field(
        default=None, pattern=r"^\d+$", description="webhooks: the sequence of the newest event before this one that was set aside"
    )


def envelope(type_: str) -> type[BaseModel]:
    """The model of a whole event of that type."""
    data, literal = DATA[type_], cast("Any", Literal)
    name = "".join(word.capitalize() for word in type_.replace("_", ".").split("."))
    return create_model(
        f"{name}Event",
        __base__=Envelope,
        __doc__=data.__doc__,
        type=(literal[type_], ...),
        dataschema=(literal[dataschema(type_)], ...),
        data=(data, ...),
    )


def schema(type_: str, *, closed: bool = False) -> dict[str, Any]:
    """The JSON Schema of a whole event. *closed*: without fields that it does not name, which is how the suite holds events against it."""
    made = envelope(type_).model_json_schema()
    made["$id"] = dataschema(type_)
    return made if closed else _opened(made)


def asyncapi(exchange: str) -> dict[str, Any]:
    """The AsyncAPI 3 document: the broker's exchange of that name, and a webhook."""
    template = "#/components/schemas/{model}"
    envelopes = {type_: envelope(type_) for type_ in DATA}
    refs, made = models_json_schema([(model, "serialization") for model in envelopes.values()], ref_template=template)
    messages = {
        type_: {
            "name": type_,
            "title": type_,
            "summary": DATA[type_].__doc__,
            "contentType": "application/cloudevents+json",
            "payload": refs[model, "serialization"],
            "x-version": VERSIONS[type_],
        }
        for type_, model in envelopes.items()
    }
    everything = {type_: {"$ref": f"#/components/messages/{type_}"} for type_ in DATA}
    topic = {"name": exchange, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "approval-worker: events",
            "version": __version__,
            "description": "CloudEvents 1.0, in order for each subject, at least once: drop what you have seen by its id.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            "exchange": {
                "address": exchange,
                "title": "The broker's topic exchange",
                "description": "Routing key: <upstream>.<account>.<type>. Bind a durable queue of your own.",
                "messages": everything,
                "bindings": {"amqp": {"is": "routingKey", "exchange": topic, "bindingVersion": "0.3.0"}},
            },
            "webhook": {
                "address": None,
                "title": "An HTTP endpoint of yours",
                "description": "One POST for each event, with the headers of Standard Webhooks 1.0.0: webhook-id (the event's id), "
                "webhook-timestamp, webhook-signature.",
                "messages": everything,
            },
        },
        "operations": {
            name: {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}
            for name, channel, summary in (
                ("publish", "exchange", "Every event, to whoever has bound a queue"),
                ("call", "webhook", "Every event that the sink lets out"),
            )
        },
        "components": {"messages": messages, "schemas": _opened(made.get("$defs", {}))},
    }


def _opened(value: Any) -> Any:
    """*value* without what closes a schema."""
    match value:
        case dict():
            return {k: _opened(v) for k, v in value.items() if (k, v) != ("additionalProperties", False)}
        case list():
            return [_opened(v) for v in value]
        case _:
            return value
