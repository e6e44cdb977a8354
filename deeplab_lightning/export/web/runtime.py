"""The runtime inside a page: onnxruntime-web, unchanged, with its licence, as it comes with this package."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "onnxruntime"


@dataclass(frozen=True)
class Runtime:
    """onnxruntime-web for WebAssembly on one thread.

    Args:
        version: Version.
        script: Module in JavaScript, compressed by gzip.
        wasm: Program in WebAssembly, compressed by gzip.
        licence: Text of the licence.
        digests: SHA-256 of the uncompressed files by their names.
    """

    version: str
    script: bytes
    wasm: bytes
    licence: str
    digests: dict[str, str]


@cache
def read_runtime() -> Runtime:
    """Return the runtime that comes with this package."""
    facts = json.loads((FOLDER / "versions.json").read_text())
    script, wasm = ((FOLDER / f"{name}.gz").read_bytes() for name in facts["sha256"])
    licence = (FOLDER / "LICENSE").read_text()
    return Runtime(version=facts["version"], script=script, wasm=wasm, licence=licence, digests=facts["sha256"])
