"""The catalogue is complete, is AsyncAPI to AsyncAPI's own parser, and does not change behind its readers' backs.

That it is true is seen to elsewhere: the fixtures of `ledger`, `flows` and `system` hold every event of the suite against it (`judge`).
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.catalogue.judge import faults
from tests.node import installed
from worker.catalogue import DATA, asyncapi, schema
from worker.core.delivery import Standing
from worker.core.events import TYPES, VERSIONS, cloudevent, sink_disabled, sink_test

GOLDEN = Path(__file__).with_name("golden.json")
"""What was published: type -> its version and its schema. Written anew by `python -m tests.catalogue.golden`."""


def shapes():
    """What is published now."""
    return {type_: {"version": VERSIONS[type_], "schema": schema(type_)} for type_ in TYPES}


def test_every_type_is_in_it_and_no_other():
    assert set(DATA) == set(TYPES)


def test_a_shape_changes_with_its_version_only():
    """After a deliberate change: raise the version in core/events, then write the golden file anew."""
    golden, now = json.loads(GOLDEN.read_text()), shapes()
    silent = [t for t in golden if t in now and golden[t] != now[t] and golden[t]["version"] == now[t]["version"]]
    assert silent == []
    assert golden == now, "the golden file is older than the versions: python -m tests.catalogue.golden"


def test_what_an_old_reader_reads_stays_under_the_same_first_number():
    """The golden file says which: what was required there is required now, under the same name and of the same type."""
    golden, now = json.loads(GOLDEN.read_text()), shapes()
    for type_ in golden:
        if golden[type_]["version"].split(".")[0] == now[type_]["version"].split(".")[0]:
            for name, model in {"": golden[type_]["schema"], **golden[type_]["schema"]["$defs"]}.items():
                found = now[type_]["schema"]["$defs"][name] if name else now[type_]["schema"]
                assert set(model.get("required", ())) <= set(found.get("required", ())), (type_, name)
                assert {k: found["properties"][k] for k in model["properties"]} == model["properties"], (type_, name)


def test_events_of_no_ledger_are_as_it_says():
    off = sink_disabled("/approvals/erp", "erp", Standing("gone", 2e9, 1e9))
    assert faults(cloudevent(off, None)) == []
    assert faults(cloudevent(sink_test("/approvals/erp", "erp", "n", 2e9), None)) == []


@pytest.mark.parametrize(
    "more",
    [
        {"data": {"sink": "erp", "colour": "red"}},
        {"data": {}},
        {"time": "soon"},
        {"sequence": "x"},
        {"colour": "red"},
        {"dataschema": "urn:x"},
    ],
)
def test_the_judge_sees_what_is_wrong(more):
    assert len(faults(cloudevent(sink_test("/approvals/erp", "erp", "n", 2e9), None) | more)) == 1


def test_a_reader_of_the_published_schema_takes_a_field_more():
    text = json.dumps([schema(t) for t in TYPES] + [asyncapi("approvals.events")])
    assert "additionalProperties" not in text.replace('"additionalProperties": {"type": "string"}', "")


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    """The folder in which `@asyncapi/parser` is installed."""
    return installed(tmp_path_factory.mktemp("parser"), Path(__file__).with_name("node"), "judge.mjs")


@pytest.mark.slow
def test_asyncapis_own_parser_has_nothing_against_it(parser):
    document = json.dumps(asyncapi("approvals.events"))
    done = subprocess.run(["node", "judge.mjs"], input=document, cwd=parser, capture_output=True, timeout=60, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [d for d in told["said"] if d["code"] != "asyncapi-latest-version"] == []
    assert set(told["messages"]) == set(TYPES)
