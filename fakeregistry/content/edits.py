"""Changes to a document that can be written down: values at places, keys left out, nulls.

A place is a JSON Pointer (RFC 6901), such as ``/layers/0/size``; ``-`` is the end of a list.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from .descriptors import Document


@dataclass(frozen=True)
class Edits:
    """What is changed in a document: an ``edit`` of an image or index that can be compared.

    Raises ``ValueError`` when it is applied, for a place that the document doesn't have.
    """

    set: Mapping[str, Any] = field(default_factory=dict, hash=False)
    omit: tuple[str, ...] = ()
    null: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.omit or self.null)

    def __call__(self, document: Document) -> Document:
        """The document with these changes; the given one stays as it is."""
        changed = deepcopy(document)
        for place, value in self.set.items():
            _put(changed, place, deepcopy(value))
        for place in self.null:
            _put(changed, place, None)
        for place in self.omit:
            holder, key = _holder(changed, place)
            try:
                del holder[key]
            except (KeyError, IndexError):
                raise ValueError(f"there is nothing at {place} to leave out") from None
        return changed


AMBIGUOUS = Edits(set={"/manifests": []})
"""A manifest that is an index too (GHSA-77vh-xpmg-72qh)."""
NO_MEDIA_TYPE = Edits(omit=("/mediaType",))
"""A document that doesn't say what it is: OCI allows it, Docker doesn't."""
NO_LAYERS = Edits(omit=("/layers",))
NULL_LAYERS = Edits(null=("/layers",))


def keys_of(place: str) -> list[str]:
    """The keys of a JSON Pointer; raises ``ValueError`` where it is none."""
    if not place.startswith("/"):
        raise ValueError(f"{place!r} is no place such as /layers/0/size")
    return [part.replace("~1", "/").replace("~0", "~") for part in place[1:].split("/")]


def _holder(document: Document, place: str) -> tuple[Any, Any]:
    at: Any = document
    keys = keys_of(place)
    for key in keys[:-1]:
        try:
            at = at[int(key)] if isinstance(at, list) else at[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ValueError(f"there is no {place}: {key!r} leads nowhere") from None
    last = keys[-1]
    if isinstance(at, list):
        if last != "-" and not last.isdecimal():
            raise ValueError(f"{place}: a list has numbers, and no {last!r}")
        return at, len(at) if last == "-" else int(last)
    if not isinstance(at, dict):
        raise ValueError(f"there is no {place}: it would be inside of {at!r}")
    return at, last


def _put(document: Document, place: str, value: Any) -> None:
    holder, key = _holder(document, place)
    if isinstance(holder, list) and key >= len(holder):
        holder.append(value)
    else:
        holder[key] = value
