"""Alembic's migrations, packaged: a service upgrades its own store when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from marketplace.store.database import Store

_LOCATION: Final = "marketplace.store:migrations"


def upgrade(store: Store, revision: str = "head") -> None:
    """Bring the tables to `revision`; all steps in one transaction."""
    with store.write() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(store: Store, revision: str = "base") -> None:
    """Take the tables back to `revision`. Data of what is removed is lost."""
    with store.write() as connection:
        command.downgrade(_config(connection), revision)


def _config(connection: object) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _LOCATION)
    # Alembic's default differs by platform and warns; ours names one folder.
    config.set_main_option("path_separator", "os")
    return config
