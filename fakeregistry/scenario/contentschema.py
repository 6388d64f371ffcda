"""The JSON Schema of ``[[image]]`` and ``[[image.layer]]``."""

from typing import Any

from fakeregistry.content import DIFF_IDS, EMPTY, EVIL, SCHEMA1_FORMS

from .contentmodel import PARTS, TREES
from .contentparts import (
    COMPRESSIONS,
    FALSE_DATA,
    IMAGE_TREES,
    LIE_CHOICES,
    LIE_SIZES,
    LIE_TEXTS,
    TAR_FORMS,
)
from .reader import SIZE

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_NAMED_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_VALUES: Schema = {"type": "object"}
_FLAG: Schema = {"type": "boolean"}
_SIZE: Schema = {
    "description": 'bytes: 4096 or "64KiB"',
    "anyOf": [{"type": "integer"}, {"type": "string", "pattern": rf"^\s*{SIZE}\s*$"}],
}


def _table(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _count(least: int, most: int | None = None) -> Schema:
    bounds = {"minimum": least} | ({} if most is None else {"maximum": most})
    return {"type": "integer", **bounds}


def _words(words: Any) -> Schema:
    return {"enum": list(words)}


def image_schema() -> Schema:
    """An ``[[image]]``."""
    return _table(
        {
            "id": _TEXT,
            "name": _TEXT,
            "tag": _TEXT,
            "registry": {"anyOf": [_TEXT, _TEXTS]},
            "form": _words(("oci", "docker", "schema1")),
            "schema1": _words(SCHEMA1_FORMS),
            "empty_steps": _count(0),
            "repeated": _FLAG,
            "platforms": _TEXTS,
            "layers": _count(0),
            "size": _SIZE,
            "tree": _words(IMAGE_TREES),
            "layer": {"type": "array", "items": {"$ref": "#/$defs/layer"}},
            "annotations": _NAMED_TEXTS,
            "config": _table(
                {
                    "type": _TEXT,
                    "labels": _NAMED_TEXTS,
                    "labels_size": _SIZE,
                    "fields": _VALUES,
                    "omit": _TEXTS,
                    "data": _FLAG,
                }
            ),
            "artifact": _TEXT,
            "subject": _TEXT,
            "media_type": _FLAG,
            "manifest_size": _SIZE,
            "sha512": {"type": "array", "items": _words(PARTS)},
            "encrypted": _FLAG,
            "attestation": _words(("first", "last")),
            "attestation_served": _FLAG,
            "nested": _count(0),
            "wide": _count(0),
            "ns": _TEXT,
            "lie": _table(
                {
                    "set": _VALUES,
                    "omit": _TEXTS,
                    "null": _TEXTS,
                    "diff_ids": _words(DIFF_IDS),
                    "config_data": _words(FALSE_DATA),
                    "manifest_size": _SIZE,
                }
            ),
        }
    )


def layer_schema() -> Schema:
    """An ``[[image.layer]]``."""
    lies: Schema = {
        **dict.fromkeys(LIE_SIZES, _SIZE),
        **dict.fromkeys(LIE_TEXTS, _TEXT),
        **{key: _words(words) for key, words in LIE_CHOICES.items()},
    }
    return _table(
        {
            "size": _SIZE,
            "compression": _words(COMPRESSIONS),
            "members": _count(1),
            "level": _count(0),
            "window": _count(10, 41),
            "tar": _words(TAR_FORMS),
            "same_as": _count(0),
            "text": _TEXT,
            "tree": _words(TREES),
            "count": _count(0),
            "empty": _words(EMPTY),
            "evil": _words(EVIL),
            "bomb": _SIZE,
            "media_type": _TEXT,
            "urls": _TEXTS,
            "foreign": _FLAG,
            "served": _FLAG,
            "data": _FLAG,
            "sha512": _FLAG,
            "encrypted": _FLAG,
            "annotations": _NAMED_TEXTS,
            "lie": _table(lies),
        }
    )
