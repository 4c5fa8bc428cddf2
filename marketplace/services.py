"""The service as one value: every use case, built once from store, settings, chain and signer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from marketplace.accounts.managed import Door, Managed
from marketplace.accounts.passwords import Passwords
from marketplace.assignments import Assignments
from marketplace.batches import Batches
from marketplace.bid_quotes import BidQuotes
from marketplace.blob_stores import open_blob_store
from marketplace.blobs import Blobs
from marketplace.book import Book
from marketplace.bundles import Bundles
from marketplace.cases import Cases
from marketplace.chain import ChainReader
from marketplace.desk import Desk
from marketplace.earnings import Income
from marketplace.inspections import Inspections
from marketplace.issued import IssuedQuotes
from marketplace.jobs import Jobs
from marketplace.live_asks import LiveAsks
from marketplace.live_depth import LiveDepth
from marketplace.logs import Logs
from marketplace.newcomers import Newcomers
from marketplace.orders import Orders
from marketplace.quotes import Quotes
from marketplace.quoting import Quoting
from marketplace.receipts import Receipts
from marketplace.reputation import Reputations
from marketplace.resting import MarketTerms
from marketplace.retention import Keeping, Retention
from marketplace.rounds import Rounds
from marketplace.seals import Seals
from marketplace.sessions import Sessions
from marketplace.settings import ServiceSettings
from marketplace.share_links import ShareLinks
from marketplace.shares import Shares
from marketplace.store.database import Store
from marketplace.trades import Trades
from marketplace.uploads import UploadLimits, Uploads
from marketplace.verification import CheckPolicy, Verified
from marketplace.webhooks.endpoints import Endpoints
from marketplace.why import WhyUnfilled
from marketplace.workers import Workers
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import ConfigurationError
from prixfixe.keys import Signer
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.typed_data import Domain
from prixfixe.protocol.wire import Market
from prixfixe.seeds import Seed

# Wakes everybody who waits in a long request, so that the service can stop.
CLOSING: Final = "closing"


@dataclass(frozen=True, slots=True)
class Services:
    """What `marketplace.api` serves."""

    settings: ServiceSettings
    market: Market
    terms: MarketTerms
    store: Store
    chain: ChainReader
    sessions: Sessions
    blobs: Blobs
    uploads: Uploads
    inspections: Inspections
    shares: Shares
    share_links: ShareLinks
    bundles: Bundles
    quotes: Quotes
    bid_quotes: BidQuotes
    orders: Orders
    jobs: Jobs
    cases: Cases
    workers: Workers
    assignments: Assignments
    rounds: Rounds
    seals: Seals
    receipts: Receipts
    retention: Retention
    trades: Trades
    reputations: Reputations
    newcomers: Newcomers
    income: Income
    desk: Desk
    batches: Batches
    book: Book
    why: WhyUnfilled
    verified: Verified
    webhooks: Endpoints
    managed: Managed | None
    closing: threading.Event

    @staticmethod
    def build(
        settings: ServiceSettings,
        market: Market,
        store: Store,
        chain: ChainReader,
        signer: Signer,
        clock: Callable[[], float] = time.time,
        arbiter_fee: int = 0,
        seed: Seed | None = None,
        passwords: Passwords | None = None,
    ) -> Services:
        """All use cases. signer: the operator's, which signs quotes and receipts. clock: the service's own,
        in seconds since the epoch. arbiter_fee: the contract's, token units. seed: of managed accounts; None:
        there are none. passwords: how theirs are hashed. ConfigurationError for play money on
        a chain that is not local."""
        if settings.play_money_units and not is_local_chain(market.chain_id):
            raise ConfigurationError(
                f"play money on chain {market.chain_id}, where tokens are worth something",
                hint="only a local chain's may be given away: leave --play-money out",
            )
        domain = Domain(market.chain_id, market.contract)
        policy = market.policy
        cases = Cases(store, policy.arbiter)
        kept = open_blob_store(settings.blobs, settings.blob_folder)
        inspections = Inspections(store, tuple(parse_address(each) for each in settings.inspectors), clock)

        def also(connection: Connection, sha256: str, reader: str) -> bool:
            return any(each.may_read(connection, sha256, reader) for each in (cases, inspections))

        blobs = Blobs(store, settings.blob_folder, settings.max_blob_bytes, clock, also, kept)
        unfinished = UploadLimits(
            settings.max_unfinished_bytes, settings.max_unfinished_uploads, settings.upload_seconds
        )
        logs = Logs(settings.logs, settings.max_log_bytes)
        terms = MarketTerms(
            contract=market.contract,
            operator=signer.address,
            grace=policy.grace,
            surety=policy.surety.units,
            silence_seconds=settings.silence_seconds,
            newcomer_cap=settings.max_newcomer_units,
        )
        trades = Trades(store, chain)
        reputations = Reputations(store, chain)
        desk = Desk(store, chain, trades, clock)
        issued = IssuedQuotes(store, domain, signer, trades, clock)
        workers = Workers(store, settings, chain, domain, policy.surety, clock)
        newcomers = Newcomers(store, reputations)
        live = LiveAsks(terms, clock, newcomers.under_way)
        keeping = Keeping(settings.retention_days, policy.window)
        quoting = Quoting(store, settings, chain, issued, terms, live, clock)
        quotes, bid_quotes = Quotes(quoting), BidQuotes(quoting)
        orders = Orders(store, settings, chain, domain, policy.grace, policy.surety, keeping, clock)
        door = Door(settings, store, chain, domain, policy.surety, quotes, bid_quotes, orders, clock)
        return Services(
            settings=settings,
            market=market,
            terms=terms,
            store=store,
            chain=chain,
            sessions=Sessions(store, settings, market.chain_id, clock),
            blobs=blobs,
            uploads=Uploads(blobs, settings.blob_folder, unfinished, clock),
            inspections=inspections,
            share_links=ShareLinks(store, clock),
            shares=Shares(
                {
                    "quotes": settings.quotes_per_minute,
                    "sign-ins": settings.sign_ins_per_minute,
                    "passwords": settings.passwords_per_minute,
                    "uploads": settings.uploads_per_minute,
                    "inspections": settings.inspections_per_minute,
                    "jobs": settings.jobs_per_minute,
                    "asks": settings.asks_per_minute,
                    "cancels": settings.cancels_per_minute,
                    "withdrawals": settings.withdrawals_per_minute,
                    "papers": settings.papers_per_minute,
                    "webhook-tests": settings.webhook_tests_per_minute,
                },
                settings.trusted_proxies,
                clock,
            ),
            bundles=Bundles(store, chain, desk, policy.grace, clock),
            quotes=quotes,
            bid_quotes=bid_quotes,
            orders=orders,
            jobs=Jobs(store, blobs, logs),
            cases=cases,
            workers=workers,
            assignments=Assignments(store, logs, domain, workers, keeping),
            rounds=Rounds(store, domain),
            seals=Seals(store, clock),
            receipts=Receipts(store, domain, signer),
            retention=Retention(store, chain, blobs, logs, signer, keeping, clock),
            trades=trades,
            reputations=reputations,
            newcomers=newcomers,
            desk=desk,
            why=WhyUnfilled(store, chain, terms, reputations, clock),
            verified=Verified(
                store,
                chain,
                CheckPolicy(bool(settings.checkers), settings.check_rule, arbiter_fee, policy.window),
            ),
            income=Income(store, chain, policy.window, settings.silence_seconds, clock),
            batches=Batches(store, blobs, chain, trades, clock),
            book=Book(store, LiveDepth(terms, live, clock), chain, domain, workers, clock),
            webhooks=Endpoints(store, local=is_local_chain(market.chain_id), clock=clock),
            managed=None if seed is None else Managed.build(door, seed, passwords),
            closing=threading.Event(),
        )

    def close_streams(self) -> None:
        """End long polls and event streams now; their clients come back to the next process. For shutdown."""
        self.closing.set()
        self.store.wake(CLOSING)
