"""Random damage to bytes, to trees of values, and to the files that hold either."""

import io
import json
import random
import zlib
from copy import deepcopy
from typing import Any

import torch
import yaml

WRONG: list[Any] = [
    None, True, 0, -1, 1, 255, 2**31, -(2**31), 2**63, 10**30, 0.5, 1e9, -1e300, float("nan"), float("inf"),
    "", "16", "x", "\0", "../..", "[/red]", "\ud800", "9" * 5000, [], {}, [[]], [None], [1, "2"],
    {"size": [1, 1], "counts": "0"},
]  # fmt: skip
"""Values that are wrong almost anywhere in a tree."""


def damaged(rng: random.Random, content: bytes) -> bytes:
    """The content with some bytes changed, repeated, removed or cut off."""
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        start = rng.randrange(min(len(content), rng.choice((300, len(content)))) + 1)
        end = min(len(content), start + rng.choice((1, 1, 2, 4, 8, 64, 1024)))
        content = content[:start] + _changed(rng, content[start:end]) + content[end:]
    return content[: rng.randrange(len(content) + 1)] if rng.random() < 0.1 else content


def _changed(rng: random.Random, part: bytes) -> bytes:
    """The bytes that replace a part of the content."""
    match rng.choice(("flip", "flip", "set", "set", "number", "double", "drop", "insert")):
        case "flip":
            return bytes(byte ^ 1 << rng.randrange(8) for byte in part[:1]) + part[1:]
        case "set":
            return bytes(rng.choice((0, 1, 127, 128, 255, rng.randrange(256))) for _ in part[:8]) + part[8:]
        case "number":
            return rng.choice((0, 1, 70_000, 2**31 - 1, 2**32 - 1)).to_bytes(4, rng.choice(("big", "little")))
        case "double":
            return part * rng.choice((2, 3, 100))
        case "insert":
            return rng.randbytes(rng.randrange(1, 9)) + part
    return b""


def damaged_image(rng: random.Random, content: bytes) -> bytes:
    """The content of an image, damaged; half of the PNGs get valid checksums again, so the decoder sees the damage."""
    content = damaged(rng, content)
    if not content.startswith(b"\x89PNG") or rng.random() < 0.5:
        return content
    start, whole = 8, content[:8]
    while start + 12 <= len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4], "big")
        chunk = content[start:end]
        whole += chunk + zlib.crc32(chunk[4:]).to_bytes(4, "big")
        start = end + 4
    return whole


def damaged_tree(rng: random.Random, tree: Any) -> Any:
    """A tree of lists and mappings with some values replaced (also by other types), moved or removed."""
    tree = deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2, 5))):
        places: list[tuple[Any, Any]] = []
        waiting = [tree]
        while waiting:
            each = waiting.pop()
            keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
            places += [(each, key) for key in keys]
            waiting += [each[key] for key in keys]
        if not places:
            return tree
        parent, key = rng.choice(places)
        if rng.random() < 0.1:
            del parent[key]
        elif rng.random() < 0.1:
            other, name = rng.choice(places)
            parent[key] = deepcopy(other[name])
        else:
            parent[key] = deepcopy(rng.choice(WRONG))
    return tree


def damaged_model(rng: random.Random, content: bytes) -> bytes:
    """A checkpoint whose description is damaged as a tree, in a file that is whole."""
    checkpoint = torch.load(io.BytesIO(content), weights_only=True)
    checkpoint["description"] = damaged_tree(rng, checkpoint["description"])
    file = io.BytesIO()
    torch.save(checkpoint, file)
    return file.getvalue()


def damaged_json(rng: random.Random, content: bytes) -> bytes:
    """JSON that is damaged either as a tree or as bytes."""
    return damaged(rng, content) if rng.random() < 0.2 else json.dumps(damaged_tree(rng, json.loads(content))).encode()


def damaged_yaml(rng: random.Random, content: bytes) -> bytes:
    """YAML that is damaged either as a tree or as bytes."""
    if rng.random() < 0.3:
        return damaged(rng, content)
    return yaml.safe_dump(damaged_tree(rng, yaml.safe_load(content)), allow_unicode=True).encode(errors="surrogatepass")
