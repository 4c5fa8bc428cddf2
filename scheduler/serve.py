"""The service: store, API and duties in one process.

The only module that knows both the API and the scheduler. It checks what must hold, starts the duties,
serves HTTP on the main thread until SIGTERM or SIGINT, and drains: long polls end, requests finish, each
duty ends its run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from sqlalchemy import make_url

from marketplace import wellness
from marketplace.accounts.balances import Balances
from marketplace.accounts.limits import Spending
from marketplace.api import create_app
from marketplace.archive import Archive
from marketplace.chain import MarketReader
from marketplace.checking import Checking
from marketplace.services import Services
from marketplace.settings import ServiceSettings
from marketplace.store.database import Store
from marketplace.webhooks.accounts import AccountNews
from marketplace.webhooks.sending import Sender
from prixfixe import __version__
from prixfixe.chain import artefacts
from prixfixe.chain.client import MarketClient
from prixfixe.chain.deployment import Deployment
from prixfixe.chain.parameters import Policy
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import ConfigurationError
from prixfixe.keys import Signer, load_signer
from prixfixe.logs import LogFormat, configure, hide, hide_address
from prixfixe.metrics import Page, serving
from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import Market, PolicyNumbers
from prixfixe.seeds import load_seed
from scheduler import checks, heap
from scheduler.archivist import Archivist
from scheduler.auctioneer import Auctioneer
from scheduler.cleaner import Cleaner
from scheduler.duty import Duty, stop_all
from scheduler.gathering import Company
from scheduler.gauges import PREFIX, Gauges, LogCounts
from scheduler.indexer import Indexer, IndexerSettings
from scheduler.matcher import Matcher
from scheduler.messenger import Messenger
from scheduler.reaper import Reaper, ReaperSettings
from scheduler.relayer import Relayer, RelayerSettings
from scheduler.verifier import Verifier, VerifierSettings

log = logging.getLogger(__name__)

_DRAIN_SECONDS: Final = 10.0
# A chain for others is re-organised now and then; a local one makes a block at once and keeps it.
_PUBLIC_CONFIRMATIONS: Final = 2
_PUBLIC_POLL_SECONDS: Final = 2.0
_LOCAL_POLL_SECONDS: Final = 0.2
_PUBLIC_GATHER_SECONDS: Final = 0.5  # a block takes longer, and each row that comes along saves gas
_DUTIES: Final[tuple[type[Duty], ...]] = (
    Indexer,
    Relayer,
    Matcher,
    Auctioneer,
    Reaper,
    Archivist,
    Cleaner,
    Messenger,
)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where a service runs and on what. port: 0 takes a free one. deployment: manifest of the market, or
    contract: its address. key: spec of the operator's key. domains: HOST:PORT by which users reach it, the
    main one first. accounts: spec of the seed of managed accounts, play_money: what a new one is given.
    inspectors: addresses of machines that look at files. duties, api: what of the two runs in this process.
    metrics: HOST:PORT for Prometheus."""

    data: Path
    rpc: str
    key: str
    host: str = "127.0.0.1"
    port: int = 8600
    contract: str | None = None
    deployment: Path | None = None
    database: str | None = None
    blobs: str | None = None
    domains: tuple[str, ...] = ()
    accounts: str | None = None
    play_money: Money | None = None
    inspectors: tuple[str, ...] = ()
    heartbeat_seconds: float | None = None
    cool_down_seconds: float | None = None
    chain_wait_seconds: float = 30.0
    confirmations: int | None = None
    duties: bool = True
    api: bool = True
    metrics: str | None = None
    json: bool = False


def serve(options: ServeOptions) -> None:
    """Run until told to stop. ConfigurationError or Unavailable when it cannot start."""
    # From here on a signal ends the process in order; before the server runs that means at once.
    _on_signal(_leave)
    with ExitStack() as closing:
        _serve(options, closing)
    log.info("stopped")


def _serve(options: ServeOptions, closing: ExitStack) -> None:
    began = time.monotonic()
    if not (options.duties or options.api):
        raise ConfigurationError("without API and without duties there is nothing to do")
    closing.enter_context(heap.trimmed())
    partly = not (options.duties and options.api)
    # The port is not known yet, and no matter here.
    checks.lock(options.data, _settings(options, options.port).database_url, closing, partly=partly)
    hide_address(options.rpc)
    client, deployment = checks.open_market(
        options.rpc, options.contract, options.deployment, options.chain_wait_seconds, closing
    )
    signer = load_signer(options.key, chain_id=client.chain_id)
    checks.require_operator(client, signer.address)
    listening = closing.enter_context(_listen(options.host, options.port)) if options.api else None
    port = int(listening.getsockname()[1]) if listening is not None else options.port
    settings = _settings(options, port)
    store = Store(settings.database_url, settings.cool_down_seconds, shared=partly)
    hide(make_url(settings.database_url).password)
    closing.callback(store.close)
    store.migrate()
    policy = client.policy()
    reader = MarketReader(client.rpc, client.contract)
    described = describe(settings, client, policy, signer)
    seed = None
    if settings.accounts is not None and options.api:
        seed = load_seed(settings.accounts, chain_id=client.chain_id)
    services = Services.build(
        settings, described, store, reader, signer, arbiter_fee=policy.arbiter_fee, seed=seed
    )
    services.blobs.kept.check()
    duties: Sequence[Duty] = ()
    if options.duties:
        duties = build_duties(options, services, client, reader, signer, policy, deployment)
    closing.callback(_drain, services, duties)
    app = application(services, duties) if listening is not None else None
    counts = LogCounts()
    logging.getLogger().addHandler(counts)
    closing.callback(logging.getLogger().removeHandler, counts)
    more = [counts.family] if app is None else [counts.family, app.state.times.family]
    gauges = Gauges(services, client, duties, duty_names(settings), more)
    # Who serves no API is asked there how it is.
    pages = _health_pages(services, duties) if app is None else {}
    metrics = closing.enter_context(serving(options.metrics, gauges.families, PREFIX, "platform", pages))
    closing.enter_context(heap.settled())
    for duty in duties:
        duty.start()
    if listening is None or app is None:
        told = _signals_to(closing)
        _announce(options, settings, services.market, None, metrics, time.monotonic() - began)
        told.recv(1)
        _on_signal(_leave)
        return
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # whose word is taken is `trusted_proxies`' to say
        timeout_graceful_shutdown=int(_DRAIN_SECONDS),
        timeout_keep_alive=30,
    )
    _announce(options, settings, services.market, port, metrics, time.monotonic() - began)
    _Server(config, services).run(sockets=[listening])


def application(services: Services, duties: Sequence[Duty]) -> FastAPI:
    """The API, which tells of these duties."""
    app = create_app(services)
    app.state.duties = lambda: _told(duties)
    app.state.duty_names = duty_names(services.settings)
    return app


def _health_pages(services: Services, duties: Sequence[Duty]) -> dict[str, Page]:
    """What the API answers there, by path."""
    return {
        "/v1/health": lambda: wellness.health(services, _told(duties)),
        "/v1/ready": lambda: wellness.readiness(services, duty_names(services.settings)),
    }


def _told(duties: Sequence[Duty]) -> list[dict[str, Any]]:
    return [asdict(duty.health()) for duty in duties]


def duty_names(settings: ServiceSettings) -> tuple[str, ...]:
    """What a service has, whichever process does it."""
    verifying: tuple[type[Duty], ...] = (Verifier,) if settings.checkers else ()
    return tuple(duty.name for duty in (*_DUTIES, *verifying))


def _drain(services: Services, duties: Sequence[Duty]) -> None:
    services.close_streams()
    if late := stop_all(duties, _DRAIN_SECONDS):
        log.error("still busy after %.0f s: %s", _DRAIN_SECONDS, ", ".join(late))


def build_duties(
    options: ServeOptions,
    services: Services,
    client: MarketClient,
    reader: MarketReader,
    signer: Signer,
    policy: Policy,
    deployment: Deployment | None,
    clock: Callable[[], float] = time.time,
) -> Sequence[Duty]:
    """The duties of one service, not started. clock: by which batches close."""
    settings, store = services.settings, services.store
    local = is_local_chain(client.chain_id)
    poll = _LOCAL_POLL_SECONDS if local else _PUBLIC_POLL_SECONDS
    confirmations = options.confirmations
    if confirmations is None:
        confirmations = 0 if local else _PUBLIC_CONFIRMATIONS
    return (
        Indexer(
            store,
            client,
            IndexerSettings(
                start_block=checks.first_block(client, deployment),
                poll_seconds=poll,
                confirmations=confirmations,
            ),
        ),
        Relayer(
            store,
            client,
            signer,
            RelayerSettings(
                poll_seconds=poll, company=Company(gather_seconds=0.0 if local else _PUBLIC_GATHER_SECONDS)
            ),
        ),
        Matcher(store, reader, services.terms, services.reputations, services.newcomers),
        Auctioneer(store, reader, services.blobs, services.terms, client.domain, services.newcomers, clock),
        Reaper(store, reader, ReaperSettings(policy.grace, settings.silence_seconds)),
        Archivist(store, Archive(settings.data / "archive")),
        Cleaner(store, services.uploads, services.seals, services.inspections, services.retention),
        _messenger(services, policy, local=local),
        *_verifying(services, client, reader, policy),
    )


def _messenger(services: Services, policy: Policy, *, local: bool) -> Messenger:
    store = services.store
    balances = Balances(store, services.chain, Spending(store), Money(policy.surety))
    return Messenger(store, Sender(store, local=local), AccountNews(store, balances))


def _verifying(
    services: Services, client: MarketClient, reader: MarketReader, policy: Policy
) -> Sequence[Duty]:
    """The verifier, when the operator named accounts for it to buy with."""
    settings = services.settings
    buyers = [load_signer(spec, chain_id=client.chain_id) for spec in settings.checkers]
    if not buyers:
        return ()
    checking = Checking(
        services.store,
        reader,
        services.terms,
        client.domain,
        services.quotes,
        services.orders,
        buyers,
    )
    chosen = VerifierSettings(policy.window, policy.arbiter_fee, policy.window // 2, settings.check_rule)
    return (Verifier(services.store, reader, checking, chosen),)


class _Server(uvicorn.Server):
    """Ends long polls and event streams as soon as it is told to stop, so that draining takes no minute."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not the parent's: it would raise the signal again after the drain, and end the process half-way.
        self.force_exit = self.should_exit
        self.should_exit = True
        self._services.close_streams()


def _signals_to(closing: ExitStack) -> socket.socket:
    """Where a byte arrives with each signal, whichever thread it meets and whenever: a lock that a handler
    releases may be held by what it interrupts, and a wait that begins just after it would not end."""
    told, tells = (closing.enter_context(end) for end in socket.socketpair())
    tells.setblocking(False)
    closing.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(tells.fileno()))
    _on_signal(lambda *_: None)
    return told


def _on_signal(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    """A signal before the server runs, or a second one while duties end."""
    raise SystemExit(128 + number)


def _settings(options: ServeOptions, port: int) -> ServiceSettings:
    shown = "127.0.0.1" if options.host in ("0.0.0.0", "::", "") else options.host
    given: dict[str, Any] = {
        "data": options.data,
        "database": options.database,
        "blobs": options.blobs,
        "accounts": options.accounts,
        "play_money_units": None if options.play_money is None else options.play_money.units,
        "inspectors": options.inspectors or None,
        "heartbeat_seconds": options.heartbeat_seconds,
        "cool_down_seconds": options.cool_down_seconds,
    }
    if options.domains or "PRIXFIXE_SERVICE_DOMAIN" not in os.environ:
        domains = options.domains or (f"{shown}:{port}",)
        given |= {"domain": domains[0], "other_domains": tuple(domains[1:]) or None}
    return ServiceSettings.from_environment(os.environ, **given)


def describe(settings: ServiceSettings, client: MarketClient, policy: Policy, signer: Signer) -> Market:
    """What the service tells of its market."""
    return Market(
        name=settings.name,
        version=__version__,
        chain_id=client.chain_id,
        contract=client.contract,
        token=client.token,
        token_symbol=_token_symbol(client),
        token_decimals=6,  # the deployment refuses any other
        operator=signer.address,
        policy=PolicyNumbers(
            window=policy.window,
            grace=policy.grace,
            notice=policy.notice,
            surety=Money(policy.surety),
            bond=Money(policy.bond),
            max_fee_bps=policy.max_fee_bps,
            arbiter=policy.arbiter,
        ),
        max_blob_bytes=settings.max_blob_bytes,
        heartbeat_seconds=settings.heartbeat_seconds,
    )


def _token_symbol(client: MarketClient) -> str:
    function = artefacts.load("DevDollar").function("symbol")  # a plain ERC-20's interface
    call = {"to": client.token, "data": "0x" + function.encode_call([]).hex()}
    return str(function.decode_answer(client.rpc.call("eth_call", call, "latest")))


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a taken port is an error before anything starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            code="port-taken",
            hint="choose another --port; 0 takes a free one",
        ) from error
    listening.listen(128)
    return listening


def _announce(
    options: ServeOptions,
    settings: ServiceSettings,
    market: Market,
    port: int | None,
    metrics: str | None,
    seconds: float,
) -> None:
    """One line when the port is open: requests wait in its queue until the server takes them. port: None
    without API. metrics: where they are, if anywhere."""
    shown = "127.0.0.1" if options.host in ("0.0.0.0", "::", "") else options.host
    facts = {
        "url": None if port is None else f"http://{shown}:{port}",
        "port": port,
        "metrics": metrics,
        "chain_id": market.chain_id,
        "contract": market.contract,
        "operator": market.operator,
        "data": str(settings.data),
        "pid": os.getpid(),
        "started_in_seconds": round(seconds, 3),
    }
    if options.json:
        print(json.dumps(facts), flush=True)
    else:
        does = "does duties" if port is None else f"serves {facts['url']}"
        print(
            f"prixfixe {__version__} {does} (chain {market.chain_id}, contract "
            f"{market.contract}, started in {seconds:.1f} s)",
            flush=True,
        )


def configure_logging(level: str, form: LogFormat = "text") -> None:
    """Lines on standard error. uvicorn's own chatter only from warnings on."""
    configure(level, form)
    for noisy in ("httpx", "httpcore", "uvicorn", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings name whole addresses
