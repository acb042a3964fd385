"""The AsyncAPI 3 document: who sends and receives what, on which topic, in which shape.

It is put together from ``topics.yaml`` and the models, so it cannot say anything else than the
code does. The payloads are the JSON Schemas beside it.
"""

from __future__ import annotations

import re
from typing import Any

from schemas.envelope import CONTENT_TYPE
from schemas.json_schemas import DIALECT
from schemas.registry import event_types
from schemas.topics import Topic, all_topics

Node = dict[str, Any]
ASYNCAPI = "3.0.0"
_SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
_BINDING = "0.5.0"
_TITLES = {
    "metrics": "Metric sample, batch of samples or clock record",
    "logs": "Log record",
    "trigger-states": "State of the monitor",
    "compound-states": "State of the monitor's second stage",
    "prediction-states": "What a model has learned of a series",
    "dead-letter": "Unreadable record",
}


def asyncapi_document(version: str) -> Node:
    """The whole document; ``version`` is that of backout."""
    channels: Node = {}
    messages: Node = {}
    operations: Node = {}
    for topic_id, topic in all_topics().items():
        found = _messages(topic_id, topic)
        messages |= found
        channels[topic_id] = _channel(topic, list(found))
        operations |= _operations(topic_id, topic)
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "backout",
            "version": version,
            "description": "A rollback control plane: its topics and events. Every name of a topic may "
            "take a namespace in front, a setting.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _channel(topic: Topic, messages: list[str]) -> Node:
    return {
        "address": topic.name,
        "description": topic.purpose,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": _topic_configuration(topic),
                "bindingVersion": _BINDING,
            }
        },
    }


def _topic_configuration(topic: Topic) -> Node:
    """The two settings that the binding has a place for; others are in ``topics.yaml``."""
    found: Node = {"cleanup.policy": topic.config["cleanup.policy"].split(",")}
    if "retention.ms" in topic.config:
        found["retention.ms"] = int(topic.config["retention.ms"])
    return found


def _messages(topic_id: str, topic: Topic) -> Node:
    if topic.carries_events:
        types = [name for name, model in event_types().items() if model.topic == topic_id]
        return {_message_id(topic_id, name): _event(topic_id, topic, name) for name in types}
    message: Node = {
        "name": topic.name,
        "title": _TITLES[topic_id],
        "contentType": "application/json",
        "bindings": _key(topic),
    }
    if topic_id == "dead-letter":
        message["contentType"] = "application/octet-stream"
        message["headers"] = _reference(topic_id)
    elif topic_id == "prediction-states":
        message["contentType"] = "application/msgpack"
    elif topic_id not in ("trigger-states", "compound-states"):
        message["payload"] = _reference(topic_id)
    return {_camel(topic_id): message}


def _event(topic_id: str, topic: Topic, event_type: str) -> Node:
    kind = _kind(event_type)
    data = {
        "allOf": [
            {"$ref": f"./json/{topic_id}.json"},
            {"properties": {"kind": {"const": kind}}},
        ]
    }
    payload = {
        "$schema": DIALECT,
        "allOf": [
            {"$ref": "./json/envelope.json"},
            {"properties": {"type": {"const": event_type}, "data": data}},
        ],
    }
    return {
        "name": event_type,
        "title": f"{topic_id}: {kind.replace('_', ' ')}",
        "contentType": CONTENT_TYPE,
        "payload": {"schemaFormat": _SCHEMA_FORMAT, "schema": payload},
        "bindings": _key(topic),
    }


def _reference(name: str) -> Node:
    return {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"./json/{name}.json"}}


def _key(topic: Topic) -> Node:
    key = {"type": "string", "description": topic.key}
    return {"kafka": {"key": key, "bindingVersion": _BINDING}}


def _operations(topic_id: str, topic: Topic) -> Node:
    roles = [("send", name) for name in topic.producers] + [("receive", name) for name in topic.consumers]
    return {
        _camel(f"{name}-{action}-{topic_id}"): {
            "action": action,
            "title": f"{name}: {action} {topic_id}",
            "channel": {"$ref": f"#/channels/{topic_id}"},
        }
        for action, name in roles
    }


def _kind(event_type: str) -> str:
    return event_type.split(".")[-2].replace("-", "_")


def _message_id(topic_id: str, event_type: str) -> str:
    return _camel(f"{topic_id}-{_kind(event_type)}")


def _camel(text: str) -> str:
    first, *rest = re.split(r"[\s_-]+", text)
    return first + "".join(word.capitalize() for word in rest)
