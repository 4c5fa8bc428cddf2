"""Output manifests name safe files in one order; roots bind every task of a lot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.protocol.hashing import keccak256, sha256
from prixfixe.protocol.outputs import (
    OutputFile,
    OutputManifest,
    TaskStatus,
    leaf,
    merkle_proof,
    merkle_root,
    require_output_path,
    verify_proof,
)

EMPTY = sha256(b"").hex()
nodes = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)
_names = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="/\\"),
    min_size=1,
    max_size=20,
)
paths = st.lists(_names.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4).map("/".join)


@given(st.lists(paths, max_size=8))
def test_a_manifest_reads_back_from_its_bytes_whatever_the_order_of_its_files(names: list[str]) -> None:
    files = [OutputFile(name, EMPTY, size) for size, name in enumerate(names)]
    try:
        manifest = OutputManifest.of(files)
    except InvalidInput:  # a path twice, or a file that is also a folder
        return
    assert OutputManifest.of(reversed(files)) == manifest
    assert OutputManifest.from_bytes(manifest.to_bytes()) == manifest
    assert manifest.digest == sha256(manifest.to_bytes())
    assert manifest.total_size == sum(range(len(names)))


def test_the_bytes_are_canonical_json() -> None:
    manifest = OutputManifest.of([OutputFile("b.csv", EMPTY, 0), OutputFile("a/x", EMPTY, 7)])
    assert manifest.to_bytes().decode() == (
        f'{{"files":[{{"path":"a/x","sha256":"{EMPTY}","size":7}},'
        f'{{"path":"b.csv","sha256":"{EMPTY}","size":0}}],"version":1}}'
    )
    assert OutputManifest().to_bytes() == b'{"files":[],"version":1}'


def test_files_sort_by_bytes_and_not_by_utf16() -> None:
    low, high = "\uffff", "\U0001f600"
    assert [
        file.path for file in OutputManifest.of([OutputFile(p, EMPTY, 0) for p in (high, low)]).files
    ] == [low, high]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        ".",
        "./a",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\u0085b",
        "a\u2028b",
        "a\\b",
        "x" * 256,
        "é" * 128,
        "/".join(["abcdefgh"] * 120),
        "\ud800",
        None,
        b"a",
    ],
)
def test_paths_that_could_leave_the_folder_or_break_a_line_are_refused(path: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        require_output_path(path)
    assert refused.value.code == "bad-output-path"


@pytest.mark.parametrize("path", ["a", "...", "a b", "-rf", ".hidden", "é/ß.csv", "x" * 255, "a:b", "👩‍💻"])
def test_odd_but_harmless_names_are_kept_byte_for_byte(path: str) -> None:
    assert require_output_path(path) == path


@pytest.mark.parametrize(
    "files",
    [
        (OutputFile("b", EMPTY, 0), OutputFile("a", EMPTY, 0)),
        (OutputFile("a", EMPTY, 0), OutputFile("a", EMPTY, 1)),
        (OutputFile("a", EMPTY, 0), OutputFile("a/b", EMPTY, 0)),
        [],
        ("a",),
    ],
)
def test_a_manifest_out_of_order_or_with_one_path_for_two_things_is_refused(files: object) -> None:
    with pytest.raises(InvalidInput):
        OutputManifest(files)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"sha256": "AB" * 32}, {"sha256": "ab"}, {"size": -1}, {"size": True}, {"size": 1.0}]
)
def test_a_file_needs_a_digest_and_a_size(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        OutputFile(**{"path": "a", "sha256": EMPTY, "size": 0, **change})  # type: ignore[arg-type]


@given(nodes, st.data())
def test_every_leaf_has_a_proof_and_no_other_place_or_count_fits_it(
    leaves: list[bytes], data: st.DataObject
) -> None:
    leaves = [leaf(index, 0, digest) for index, digest in enumerate(leaves)]
    root, count = merkle_root(leaves), len(leaves)
    index = data.draw(st.integers(0, count - 1))
    proof = merkle_proof(leaves, index)
    assert verify_proof(root, leaves[index], index, count, proof)
    other = data.draw(st.integers(0, count - 1).filter(lambda at: at != index)) if count > 1 else 1
    assert not verify_proof(root, leaves[index], other, count, proof)
    assert not verify_proof(root, leaves[index], index, count, [*proof, bytes(32)])
    assert not proof or not verify_proof(root, leaves[index], index, count, proof[:-1])
    assert not verify_proof(root, leaf(index, 1, leaves[index]), index, count, proof)


def test_an_inner_node_cannot_pass_for_a_leaf() -> None:
    leaves = [leaf(index, TaskStatus.SUCCEEDED, bytes([index]) * 32) for index in range(4)]
    inner = keccak256(b"\x01" + leaves[0] + leaves[1])
    assert merkle_root([inner, keccak256(b"\x01" + leaves[2] + leaves[3])]) == merkle_root(leaves)
    assert not verify_proof(merkle_root(leaves), inner, 0, 4, [merkle_proof(leaves, 0)[1]])


def test_an_odd_node_moves_up_unchanged() -> None:
    a, b, c = (leaf(index, 0, bytes(32)) for index in range(3))
    assert merkle_root([a, b, c]) == keccak256(b"\x01" + keccak256(b"\x01" + a + b) + c)
    assert merkle_proof([a, b, c], 2) == [keccak256(b"\x01" + a + b)]


def test_index_status_and_digest_all_change_the_leaf() -> None:
    assert (
        len({leaf(0, 0, bytes(32)), leaf(1, 0, bytes(32)), leaf(0, 1, bytes(32)), leaf(0, 0, b"\x01" * 32)})
        == 4
    )


def test_a_lot_without_tasks_and_a_short_digest_are_refused() -> None:
    for wrong in (
        lambda: merkle_root([]),
        lambda: leaf(0, 0, b""),
        lambda: leaf(2**32, 0, bytes(32)),
        lambda: leaf(0, 256, bytes(32)),
    ):
        with pytest.raises(InvalidInput):
            wrong()
