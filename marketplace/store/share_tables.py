"""The table of share links: a job's files for whoever has the link, until a moment."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table

from marketplace.store.metadata import metadata

share_links = Table(  # gone when they are over or taken back
    "share_links",
    metadata,
    Column("token_digest", String(64), primary_key=True),
    Column("job", String(66), ForeignKey("jobs.id"), nullable=False),
    Column("made_by", String(64), nullable=False),  # person:<id>, key:<id> or wallet:<address>
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_share_links_job", "job"),
    Index("ix_share_links_expires_at", "expires_at"),
)
