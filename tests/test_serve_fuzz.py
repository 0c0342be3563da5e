"""Whatever its own description allows, and what it does not, the server answers without a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import serving
from serving import FORM, Server, chat, dicom, form, png

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
pytestmark = pytest.mark.slow

Schema = dict[str, Any]
Strategy = st.SearchStrategy[Any]

# With lone surrogates, which JSON can spell and UTF-8 cannot.
TEXT = st.text(st.characters(), max_size=40) | st.sampled_from(["\ud800", "\x00", "<|image_pad|>"])
NUMBER = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, 2**64, 10**400, 1e308])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FILE = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda file, at, piece: file[:at] + piece + file[at + len(piece) :],
        st.sampled_from([png(), dicom()]),
        st.integers(0, 1500),
        st.binary(max_size=8),
    ),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving.stub(tmp_path_factory.mktemp("fuzz"), waiting=4096) as server:
        yield server


@pytest.fixture(scope="module")
def description(server: Server) -> dict[str, Any]:
    return server.call("GET", "/openapi.json").json


def like(schema: Schema, whole: dict[str, Any]) -> Strategy:
    """Mostly values of a schema, now and then anything."""
    return st.one_of(exactly(schema, whole), exactly(schema, whole), ANYTHING)


def exactly(schema: Schema, whole: dict[str, Any]) -> Strategy:
    if "$ref" in schema:
        return exactly(whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]], whole)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return st.one_of(*(like(option, whole) for option in schema[choice]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    match schema.get("type"):
        case "object":
            return an_object(schema, whole)
        case "array":
            return st.lists(like(schema.get("items", {}), whole), max_size=3)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
        case "string":
            return TEXT
    return ANYTHING


def an_object(schema: Schema, whole: dict[str, Any]) -> Strategy:
    known = {name: like(inner, whole) for name, inner in schema.get("properties", {}).items()}
    required = {name: known.pop(name) for name in schema.get("required", ()) if name in known}
    made = st.fixed_dictionaries(required, optional=known)
    if not isinstance(more := schema.get("additionalProperties"), dict):
        return made
    names = more.get("propertyNames", schema.get("propertyNames", {})).get("enum")
    keys = st.sampled_from(names) if names else TEXT
    more_keys = st.dictionaries(keys | TEXT, like(more, whole), max_size=3)
    return st.builds(lambda one, other: {**other, **one}, made, more_keys)


def requests(description: dict[str, Any]) -> Strategy:
    """Method, path, body and its headers, of any operation that is described."""
    made: list[Strategy] = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            paths = st.just(path)
            for parameter in operation.get("parameters", ()):
                value = exactly(parameter["schema"], description)
                hole = "{%s}" % parameter["name"]  # noqa: UP031
                paths = value.map(lambda v, hole=hole: path.replace(hole, v))  # noqa: B023
            content = operation.get("requestBody", {}).get("content", {"": {"schema": {}}})
            for kind, body in content.items():
                made.append(
                    st.tuples(
                        st.just(method.upper()),
                        paths,
                        forms(body["schema"], description)
                        if kind.startswith("multipart")
                        else like(body["schema"], description).map(as_json),
                    )
                )
    return st.one_of(made)


def as_json(value: Any) -> tuple[bytes, dict[str, str]]:
    return json.dumps(value).encode(), {"Content-Type": "application/json"}


def forms(schema: Schema, whole: dict[str, Any]) -> Strategy:
    fields = {
        name: like(inner, whole).map(lambda value: str(value).encode("utf-8", "replace").decode())
        for name, inner in schema["properties"].items()
        if name != "image"
    }
    made = st.builds(form, st.lists(FILE, max_size=3), st.fixed_dictionaries({}, optional=fields))
    return made.map(lambda body: (body, FORM))


@pytest.fixture(scope="module")
def operations(description: dict[str, Any]) -> Strategy:
    return requests(description)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_is_answered_with_5xx(
    server: Server, operations: Strategy, data: st.DataObject
) -> None:
    method, path, (body, headers) = data.draw(operations)
    answer = server.call(method, path, raw=body, headers=headers)
    assert answer.status < 500, answer.text
    assert "traceback" not in answer.text.lower() if answer.status >= 400 else True


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_chat_is_answered_with_5xx(
    server: Server, description: dict[str, Any], data: st.DataObject
) -> None:
    """A valid question of which one part is something else, so that it gets far."""
    properties = description["components"]["schemas"]["Chat"]["properties"]
    name = data.draw(st.sampled_from([*properties, "tools", "stop", "user"]))
    value = data.draw(like(properties.get(name, {}), description))
    body = {**chat(png(side=4)), name: value}
    answer = server.call("POST", "/v1/chat/completions", body)
    assert answer.status < 500, answer.text


def test_the_description_has_every_route(description: dict[str, Any]) -> None:
    assert set(description["paths"]) == {
        "/export/{form}",
        "/health",
        "/labels",
        "/metrics",
        "/preview",
        "/report",
        "/reports",
        "/v1/chat/completions",
        "/v1/models",
    }
