"""Where files are kept, as an operator says it: what is refused, and where keys are looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fastapi import Request

from marketplace.api.files import file_response
from marketplace.blob_stores import FolderStore, open_blob_store
from marketplace.blobs import Blob
from marketplace.object_store import ObjectStore, configuration
from prixfixe.errors import ConfigurationError

NOWHERE = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


@pytest.mark.parametrize(
    "address",
    [
        *(
            "https://bucket",
            "s3://",
            "s3://a",
            "s3://Bucket",
            "s3://key:secret@bucket",
            "s3://bucket/../other",
        ),
        *("s3://bucket/a//b", "s3://bucket?region=x", "file:///tmp", "s3:bucket"),
    ],
)
def test_what_is_no_bucket_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_blob_store(address, Path("unused"))
    assert refused.value.code == "blob-store-address"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["s3://bucket", "s3://bucket/", "s3://my.bucket-1/a/b_c.d", "s3://bucket/a/"]
)
def test_a_bucket_is_named_by_its_address_and_asked_for_nothing_yet(address: str) -> None:
    assert isinstance(ObjectStore.at(address, NOWHERE), ObjectStore)


def test_without_an_address_files_are_in_the_folder(tmp_path: Path) -> None:
    assert isinstance(open_blob_store(None, tmp_path), FolderStore)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_only_this_machine_is_spoken_to_without_encryption(name: str) -> None:
    for good in (
        "https://minio.example:9000",
        "http://127.0.0.1:9000",
        "http://localhost:9000",
        "http://[::1]:9",
    ):
        assert configuration({**NOWHERE, name: good})["endpoint"] == good
    for bad in (
        "http://minio.example:9000",
        "http://10.0.0.1",
        "http://127.0.0.1.example",
        "ftp://127.0.0.1",
    ):
        with pytest.raises(ConfigurationError) as refused:
            configuration({**NOWHERE, name: bad})
        assert refused.value.code == "blob-store-endpoint"
    with pytest.raises(ConfigurationError) as refused:
        configuration({**NOWHERE, name: "https://key:hunter22@minio.example"})
    assert "hunter22" not in str(refused.value)


def test_keys_come_from_the_environment_else_from_the_files_of_aws_programs(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = one\naws_secret_access_key = first%secret\n"
        "[other]\naws_access_key_id = two\naws_secret_access_key = second\naws_session_token = token\n"
    )
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile other]\nregion = eu-central-1\n"
        "endpoint_url = https://minio.example\n"
    )
    home = {"HOME": str(tmp_path)}
    assert configuration(home) == {
        "region": "eu-west-1",
        "access_key_id": "one",
        "secret_access_key": "first%secret",
    }
    assert configuration({**home, "AWS_PROFILE": "other", "AWS_REGION": "us-west-2"}) == {
        "region": "us-west-2",
        "endpoint": "https://minio.example",
        "access_key_id": "two",
        "secret_access_key": "second",
        "session_token": "token",
    }
    # The library takes those of the environment itself, and no half of another pair with them.
    assert configuration({**home, "AWS_ACCESS_KEY_ID": "three"}) == {"region": "eu-west-1"}
    (tmp_path / ".aws" / "credentials").write_text("aws_secret_access_key = hunter22\n")
    with pytest.raises(ConfigurationError) as unreadable:
        configuration(home)
    assert "hunter22" not in str(unreadable.value)


@pytest.mark.parametrize("name", ['a"b.csv', "a\r\nSet-Cookie: x", "münchen.csv", "100%.csv", "a;b.csv"])
def test_a_hostile_name_stays_within_its_header(name: str, tmp_path: Path) -> None:
    class Elsewhere(FolderStore):
        def path(self, sha256: str) -> Path:
            return None  # type: ignore[return-value]

    request = Request({"type": "http", "method": "HEAD", "headers": []})
    blob = Blob("ab" * 32, 7, Elsewhere(tmp_path))
    answer = file_response(request, blob, "text/csv", {"ETag": '"x"'}, name)
    told = answer.headers["content-disposition"]
    assert told.startswith("attachment; filename*=utf-8''")
    assert told.isascii()
    assert not set(told.partition("''")[2]) & set('\r\n"; ')
