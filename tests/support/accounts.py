"""People of managed accounts, each with a browser of its own."""

from __future__ import annotations

from typing import Any

import httpx

from prixfixe.protocol import accounts as wire
from tests.support.service import HOST, InProcess, World

PASSWORD = "correct horse battery"


class Person:
    """Somebody at a browser: it keeps cookies, and sends the CSRF token of the page that it shows."""

    def __init__(self, world: World, email: str) -> None:
        self.email = email
        self.browser = httpx.Client(transport=InProcess(world.app), base_url=f"http://{HOST}")
        self.csrf = ""

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        given = {"X-CSRF-Token": self.csrf, **headers}
        return self.browser.request(method, f"/v1/account{path}", json=body, headers=given)

    def sign_up(self, **more: Any) -> wire.Opened:
        answer = self.call("POST", "", {"email": self.email, "password": PASSWORD, **more})
        assert answer.status_code == 201, answer.text
        opened = wire.Opened.model_validate(answer.json())
        self.csrf = opened.signed_in.csrf
        return opened

    def sign_in(self, **more: Any) -> wire.SignedIn:
        answer = self.call("POST", "/session", {"email": self.email, "password": PASSWORD, **more})
        assert answer.status_code == 200, answer.text
        signed_in = wire.SignedIn.model_validate(answer.json())
        self.csrf = signed_in.csrf
        return signed_in

    @property
    def cookie(self) -> str:
        return str(self.browser.cookies["prixfixe_session"])

    def key(self, *scopes: str, **more: Any) -> dict[str, str]:
        """The header of a new API key."""
        body = {"name": "test", "scopes": scopes or ["read"], **more}
        answer = self.call("POST", "/keys", body)
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    def joins(self, owner: Person, role: str) -> None:
        """Invited by `owner`, accepted; this one's session is at the owner's account then."""
        made = owner.call("POST", "/invites", {"email": self.email, "role": role})
        assert made.status_code == 201, made.text
        answer = self.call("POST", "/invites/accept", {"token": made.json()["token"]})
        assert answer.status_code == 200, answer.text
        self.csrf = answer.json()["csrf"]

    def close(self) -> None:
        self.browser.close()
