"""What all tables share: one metadata, names of constraints, and the kinds of columns that need care."""

from __future__ import annotations

from sqlalchemy import JSON, CheckConstraint, MetaData

# None is stored as NULL and not as the JSON word null, which no CHECK and no IS NULL would take for nothing.
JSON_OR_NULL = JSON(none_as_null=True)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def one_of(column: str, *values: str) -> CheckConstraint:
    """The column holds one of these words."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")
