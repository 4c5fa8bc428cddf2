"""The table of inspections. What state a row is in shows in what it has: taken, answered."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, String, Table

from marketplace.store.metadata import JSON_OR_NULL, metadata, one_of

inspections = Table(  # files that people sent from a page; gone an hour after
    "inspections",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(42), nullable=False),  # a managed account's address
    Column("bundle", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Column("step", String(8), nullable=False),
    Column("file", JSON_OR_NULL, nullable=False),  # InputFile
    Column("sha256", String(64), nullable=False),  # the file's
    Column("parameters", JSON_OR_NULL, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("inspector", String(42)),  # who has it; NULL while it waits
    Column("taken_at", BigInteger),
    Column("answer", JSON_OR_NULL),  # InspectionAnswer; NULL until it is over
    one_of("step", "look", "make"),
    CheckConstraint("(inspector IS NULL) = (taken_at IS NULL)", name="taken_by_somebody"),
    CheckConstraint("answer IS NULL OR tries > 0", name="answered_after_a_try"),
    Index("ix_inspections_owner", "owner"),
    Index("ix_inspections_expires_at", "expires_at"),
)
