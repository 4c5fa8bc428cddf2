"""What an operator decides about a service. Everything has a default but the data folder and the domain."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from marketplace.store.database import COOL_DOWN_SECONDS
from prixfixe.errors import ConfigurationError
from prixfixe.market.verification import Rule
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.product import Product

_PREFIX = "PRIXFIXE_SERVICE_"


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings of one service.

    data: folder of the database, the blobs and the logs. domain: host and port as its users see it; sign-in
    messages must name it, or one of `other_domains`, by which the same service is reached from elsewhere (a
    name inside of a private network, for example). heartbeat_seconds: how often workers report; after three
    silent ones a worker is lost. quote_seconds: how long a price is offered. max_body_bytes: of JSON in one
    request. max_unfinished_bytes, max_unfinished_uploads: what one account may leave half sent;
    upload_seconds: how long it is kept after its last byte. quotes_, sign_ins_, jobs_ and asks_per_minute:
    what one network address may ask for; uploads_ and cancels_per_minute: what one account may;
    inspections_per_minute: each of both (requests); 0 for any number. max_open_bids, max_open_tasks: of one
    account, that wait or run.
    catalogue: products that every worker is asked for a price of, beside those of bundles and waiting bids,
    so that there is something to see before anybody orders. trusted_proxies: addresses or networks of
    proxies in front, whose X-Forwarded-For says who is asking. accounts: spec of the seed
    (`prixfixe.seeds`) from which managed accounts have their keys; None: there are none.
    passwords_per_minute: how many one network address may try, and how many may be tried for one e-mail
    address. withdrawals_per_minute: of one managed account, those that it asks for and copies of its
    standing one. papers_per_minute: of one account, statements and certificates as PDF, whose making takes
    a processor. webhook_tests_per_minute: of one account, test messages and replays of its webhooks.
    play_money_units: of the operator's tokens, that a new account is given; on a local chain only.
    withdrawal_delay_seconds: after which another withdrawal address counts. inspectors: addresses of the
    operator's machines that look at files which people send from a page; none: pages take no files.
    checkers: key specs of the accounts with which paid results are bought again to check them; none:
    nothing is checked. check_least: no result is checked with a lower chance, millionths. check_trials:
    results of a newcomer that are always checked. max_newcomer_units: of the token, that may be under way
    with a provider without a record ($100). retention_days: for which files and logs of an order are kept
    after it is over, and files that nobody ordered with; a bundle's own promise comes before it.
    cool_down_seconds: without a new deal, for a worker that failed one by its own fault; three times as
    long with each further failure in a row. blobs: address of the store of files, s3://BUCKET/PREFIX; None:
    the data folder.
    """

    data: Path
    domain: str
    other_domains: tuple[str, ...] = ()
    name: str = "prixfixe"
    database: str | None = None
    blobs: str | None = None
    max_blob_bytes: int = 8 * 2**30
    max_unfinished_bytes: int = 16 * 2**30
    max_unfinished_uploads: int = 32
    upload_seconds: int = 86_400
    quotes_per_minute: int = 600
    sign_ins_per_minute: int = 240
    passwords_per_minute: int = 20
    uploads_per_minute: int = 6000
    inspections_per_minute: int = 60
    jobs_per_minute: int = 6000
    asks_per_minute: int = 60_000
    cancels_per_minute: int = 600
    withdrawals_per_minute: int = 10
    papers_per_minute: int = 30
    webhook_tests_per_minute: int = 30
    max_open_bids: int = 1000
    max_open_tasks: int = 200_000
    trusted_proxies: tuple[str, ...] = ()
    accounts: str | None = None
    play_money_units: int = 0
    withdrawal_delay_seconds: int = 259_200
    inspectors: tuple[str, ...] = ()
    checkers: tuple[str, ...] = ()
    check_least: int = Rule().least
    check_trials: int = Rule().trials
    max_newcomer_units: int = 100_000_000
    max_log_bytes: int = 16 * 2**20
    retention_days: int = 90
    max_body_bytes: int = 2**20
    session_seconds: int = 86_400
    nonce_seconds: int = 300
    quote_seconds: int = 600
    catalogue: tuple[str, ...] = ("cpu-0.5x0.5/1m", "cpu-1x1/10m", "cpu-1x2/1h", "cpu-2x4/10m", "cpu-2x4/1h")
    heartbeat_seconds: float = 1.0
    cool_down_seconds: float = COOL_DOWN_SECONDS
    max_wait_seconds: float = 60.0

    def __post_init__(self) -> None:
        for domain in self.domains:
            if not domain or "/" in domain:
                raise ConfigurationError(
                    f"the service's domain is {domain!r}", hint="host and port only, such as 127.0.0.1:8600"
                )
        for field in fields(self):
            value = getattr(self, field.name)
            if (field.name.startswith("max_") or field.name.endswith(("_seconds", "_days"))) and value <= 0:
                raise ConfigurationError(f"{field.name} is {value!r}, not above zero")
            if field.name.endswith("_per_minute") and value < 0:
                raise ConfigurationError(f"{field.name} is {value!r}, below zero", hint="0 for any number")
        if self.play_money_units < 0:
            raise ConfigurationError(f"play_money_units is {self.play_money_units}, below zero")
        _ = self.check_rule  # says what is wrong with it
        for product in self.catalogue:
            Product.parse(product)
        for inspector in self.inspectors:
            parse_address(inspector, name="inspectors")
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError as error:
                raise ConfigurationError(
                    f"trusted_proxies names {proxy!r}", hint="an address such as 10.0.0.2, or 10.0.0.0/24"
                ) from error

    @property
    def domains(self) -> tuple[str, ...]:
        """All names under which people may sign in, the main one first."""
        return (self.domain, *self.other_domains)

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{(self.data / 'prixfixe.db').absolute()}"

    @property
    def check_rule(self) -> Rule:
        """How often results are checked."""
        return Rule(self.check_least, self.check_trials)

    @property
    def blob_folder(self) -> Path:
        """Where blobs are, or, when they are in another store, what is on its way there."""
        return self.data / "blobs"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def silence_seconds(self) -> float:
        """After this long without a heartbeat a worker is lost."""
        return 3 * self.heartbeat_seconds

    @staticmethod
    def from_environment(environment: Mapping[str, str], **given: Any) -> ServiceSettings:
        """Settings from PRIXFIXE_SERVICE_NAME variables; `given` wins. An unknown variable is refused."""
        known = {field.name: field for field in fields(ServiceSettings)}
        values: dict[str, Any] = {}
        for variable, text in environment.items():
            if not variable.startswith(_PREFIX):
                continue
            name = variable.removeprefix(_PREFIX).lower()
            if name not in known:
                raise ConfigurationError(
                    f"{variable} is no setting of the service",
                    hint="known: " + ", ".join(_PREFIX + each.upper() for each in known),
                )
            values[name] = _parse(variable, str(known[name].type), text)
        values |= {name: value for name, value in given.items() if value is not None}
        missing = [name for name in ("data", "domain") if name not in values]
        if missing:
            raise ConfigurationError(f"the service needs {' and '.join(missing)}")
        return ServiceSettings(**values)


def _parse(variable: str, kind: str, text: str) -> Any:
    try:
        if kind == "Path":
            return Path(text)
        if kind.startswith("tuple"):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable} is {text!r}, not a number") from error
