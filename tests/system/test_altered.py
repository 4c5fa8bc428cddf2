"""A service that hands out other bytes than were bought: no worker runs them, and nobody is charged."""

from __future__ import annotations

import io
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import pytest

from marketplace.packs import Packs
from prixfixe.client.wishes import Wish
from prixfixe.protocol.canonical import sha256_hex
from prixfixe.protocol.wire import Job
from tests.cage.conftest import engine, image
from tests.support.devnet import Devnet
from tests.support.scheduling import until

__all__ = ["engine", "image"]

COPY = ("/bin/sh", "-c", "cat /job/inputs/data > /job/outputs/seen")
OTHER = "cat /job/inputs/data > /job/outputs/evil"


@pytest.fixture
def archive(image: str, tmp_path: Path) -> Path:
    """An image that the engine does not have, in an archive: the tiny one with a file more."""
    more = io.BytesIO()
    with tarfile.open(fileobj=more, mode="w") as layer:
        layer.addfile(tarfile.TarInfo("only-here"))
    place = tmp_path / "image.tar"
    with closing(docker.from_env()) as local:
        container = local.containers.create(image, "true")
        try:
            container.put_archive("/", more.getvalue())
            made = container.commit()
        finally:
            container.remove()
        place.write_bytes(b"".join(made.save()))
        local.images.remove(made.id)
    return place


def wish(archive: Path, data: Path) -> Wish:
    return Wish(archive, COPY, product="cpu-0.5x0.5/1m", inputs=(data,), wait_seconds=60)


@contextmanager
def altered_blob(devnet: Devnet, path: Path) -> Iterator[None]:
    """One byte of the service's copy of a file is another."""
    name = sha256_hex(path.read_bytes())
    blob = devnet.folder.service / "blobs" / name[:2] / name[2:]
    bytes_, mode = blob.read_bytes(), blob.stat().st_mode
    blob.chmod(0o600)
    middle = len(bytes_) // 2
    blob.write_bytes(bytes_[:middle] + bytes([bytes_[middle] ^ 1]) + bytes_[middle + 1 :])
    try:
        yield
    finally:
        blob.write_bytes(bytes_)
        blob.chmod(mode)


@contextmanager
def altered_command(devnet: Devnet) -> Iterator[None]:
    """The service writes another command into each job that it takes."""
    database = devnet.folder.service / "prixfixe.db"
    with closing(sqlite3.connect(database, timeout=15, isolation_level=None)) as store:
        store.execute(
            "CREATE TRIGGER other_command AFTER INSERT ON jobs BEGIN UPDATE jobs SET manifest ="
            f" replace(NEW.manifest, '{COPY[-1]}', '{OTHER}') WHERE id = NEW.id; END"
        )
        try:
            yield
        finally:
            store.execute("DROP TRIGGER other_command")


def put_right(devnet: Devnet, job: str) -> None:
    """The command as it was ordered, in the tables and in the archive: others look at both."""
    orders = devnet.folder.service / "archive" / "orders"
    with closing(sqlite3.connect(devnet.folder.service / "prixfixe.db", timeout=15)) as store, store:
        right = "UPDATE jobs SET manifest = replace(manifest, ?, ?) WHERE id = ?"
        store.execute(right, (OTHER, COPY[-1], job))
    until(lambda: Packs(orders).get(job), "the order is archived", 60)
    for file in orders.iterdir():
        file.write_text(file.read_text().replace(OTHER, COPY[-1]))


def test_what_differs_from_its_digest_is_not_run_and_not_paid(
    devnet: Devnet, archive: Path, tmp_path: Path
) -> None:
    before = devnet.account().free
    inputs = {what: tmp_path / what / "data" for what in ("image", "input", "command")}
    with devnet.client() as client:
        orders = {}
        for what, place in inputs.items():
            place.parent.mkdir()
            place.write_bytes(os.urandom(1000))  # that no worker has seen
            client.upload(place)
            orders[what] = client.order(client.quote_wish(wish(archive, place)))
        client.upload(archive)
        jobs: dict[str, Job] = {}
        # First, and alone: once another had its image, the engine has it.
        with altered_blob(devnet, archive):
            jobs["image"] = client.wait(client.buy(orders["image"]))
        with altered_blob(devnet, inputs["input"]):
            placed = {"input": client.buy(orders["input"])}
            with altered_command(devnet):
                placed["command"] = client.buy(orders["command"])
            jobs |= {what: client.wait(job) for what, job in placed.items()}
    assert {(job.state, job.charged.units) for job in jobs.values()} == {("refunded", 0)}
    codes = {what: job.reason.code for what, job in jobs.items() if job.reason is not None}
    altered = "blob-mismatch"
    assert codes == {"image": altered, "input": altered, "command": "assignment-not-as-bought"}
    assert devnet.account().free == before
    put_right(devnet, jobs["command"].id)


def test_the_same_job_is_run_by_an_honest_service(devnet: Devnet, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(1000))
    with devnet.client() as client:
        job = client.wait(client.submit(wish(archive, tmp_path / "data")))
        client.download(job, tmp_path / "out")
    assert job.state == "settled"
    assert (tmp_path / "out" / "seen").read_bytes() == (tmp_path / "data").read_bytes()
