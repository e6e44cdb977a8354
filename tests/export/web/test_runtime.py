"""The runtime in the package is the one that its file names, and its licence comes with it."""

import gzip
import hashlib

import pytest

from deeplab_lightning.export.web.runtime import FOLDER, read_runtime


@pytest.mark.parametrize("name", ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"])
def test_the_files_have_their_digests(name: str) -> None:
    content = gzip.decompress((FOLDER / f"{name}.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() == read_runtime().digests[name]


def test_the_version_and_the_licence_are_those_of_the_files() -> None:
    runtime = read_runtime()
    script = gzip.decompress(runtime.script).decode()
    assert f"ONNX Runtime Web v{runtime.version}\n" in script[:100]
    assert "MIT License" in runtime.licence
    assert "Copyright (c) Microsoft Corporation" in runtime.licence
    assert gzip.decompress(runtime.wasm)[:4] == b"\0asm"
    assert b"Eigen" in gzip.decompress((FOLDER / "ThirdPartyNotices.txt.gz").read_bytes())
