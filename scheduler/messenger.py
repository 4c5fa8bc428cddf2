"""The messenger: tells customers' own servers what happened to their jobs and accounts."""

from __future__ import annotations

import logging
import time
from typing import Final

from marketplace.store.database import Store
from marketplace.store.webhooks import TOPIC
from marketplace.webhooks.accounts import AccountNews
from marketplace.webhooks.sending import Sender
from scheduler.duty import Duty

log = logging.getLogger(__name__)

_NEWS_SECONDS: Final = 30.0
_FORGET_SECONDS: Final = 3600.0


class Messenger(Duty):
    """Sends webhooks as they become due; looks for news of accounts twice a minute."""

    name = "messenger"
    topics = (TOPIC,)

    def __init__(self, store: Store, sender: Sender, news: AccountNews) -> None:
        super().__init__(store)
        self._sender: Final = sender
        self._news: Final = news
        self._looked = self._forgot = float("-inf")

    def run_once(self) -> float:
        pause = self._sender.send_all(self.should_stop)
        now = time.monotonic()
        if now - self._forgot >= _FORGET_SECONDS:
            if old := self._sender.forget_old():
                log.info("%d messages of webhooks were kept long enough and are gone", old)
            self._forgot = now
        if now - self._looked >= _NEWS_SECONDS:
            self._looked = now  # first: what fails is tried again at the same pace, and holds up no delivery
            self._news.look()
        return min(pause, _NEWS_SECONDS)
