"""Which runtime a job gets."""

from __future__ import annotations

import pytest

from prixfixe.errors import EngineError
from prixfixe.protocol.manifest import BundleReference, Egress, JobManifest
from worker.isolation import capabilities, runtime_of

BOTH, PLAIN = ("runc", "runsc"), ("runc",)
BID = JobManifest(image="sha256:" + "0" * 64, command=("true",), inputs=(), determinism="none")
BUNDLE = BID.model_copy(
    update={"bundle": BundleReference(id="b", version="1", tier="s", definition="0" * 64)}
)
CALLING = BID.model_copy(update={"network": Egress(hosts=("api.example.com",))})
STRICT = BID.model_copy(update={"isolation": "gvisor"})


@pytest.mark.parametrize(
    ("setting", "runtimes", "manifest", "expected"),
    [
        ("auto", BOTH, BID, "runsc"),
        ("auto", BOTH, BUNDLE, "runc"),
        ("auto", PLAIN, BID, "runc"),
        ("runc", BOTH, BID, "runc"),
        ("runc", BOTH, STRICT, "runsc"),
        ("runsc", BOTH, BUNDLE, "runsc"),
    ],
)
def test_a_strangers_image_and_one_that_requires_it_run_in_gvisor(
    setting: str, runtimes: tuple[str, ...], manifest: JobManifest, expected: str
) -> None:
    assert runtime_of(setting, runtimes, manifest) == expected


def test_a_job_that_requires_gvisor_runs_on_nothing_less() -> None:
    assert capabilities("auto", BOTH, egress=False, secrets=False) == ("gvisor",)
    assert capabilities("auto", ("runc",), egress=False, secrets=True) == ("secrets",)
    assert capabilities("auto", PLAIN, egress=False, secrets=False) == ()
    with pytest.raises(EngineError, match="requires gVisor") as refused:
        runtime_of("auto", PLAIN, STRICT)
    assert (refused.value.code, refused.value.fault) == ("no-isolation", "provider")


def test_a_job_that_calls_hosts_runs_on_runc_where_its_provider_lets_it() -> None:
    assert capabilities("auto", BOTH, egress=True, secrets=False) == ("gvisor", "egress")
    assert capabilities("runsc", BOTH, egress=True, secrets=False) == ("gvisor",), "gVisor has no network"
    assert runtime_of("auto", BOTH, CALLING, egress=True) == "runc"
    assert CALLING.needs == {"egress"}
    for setting, egress in (("auto", False), ("runsc", True)):
        with pytest.raises(EngineError, match="calls hosts"):
            runtime_of(setting, BOTH, CALLING, egress=egress)


def test_a_manifest_that_requires_nothing_has_the_digest_that_it_always_had() -> None:
    assert b"isolation" not in BID.canonical()
    assert b'"network":"none"' in BID.canonical()
    assert b'"isolation":"gvisor"' in STRICT.canonical()
