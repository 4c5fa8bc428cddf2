"""A wallet in the browser (EIP-1193), which tests write by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from playwright.sync_api import BrowserContext

from prixfixe.development_keys import ADDRESSES, development_key

# What a wallet puts into a page: a provider that hands each request over, announced as EIP-6963 says.
INJECTED = """
(() => {
  const heard = {};
  const provider = {
    request: async ({ method, params }) => {
      const answer = await window.__wallet(method, params || []);
      if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
      return answer.result;
    },
    on: (name, act) => { heard[name] = act; },
  };
  window.__heard = heard;
  const info = { uuid: "1", name: "Test Wallet", icon: "data:,", rdns: "test.wallet" };
  const announce = () => window.dispatchEvent(
    new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})();
"""


@dataclass
class Wallet:
    """Account 3 of a development chain. node: answers what is no wallet's own. chain: where it says that it
    is. Writes addresses in lower case, as some wallets do."""

    node: Callable[[str, list[Any]], dict[str, Any]]
    chain: int = 31337
    declines: bool = False
    signed: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def __call__(self, method: str, params: list[Any]) -> dict[str, Any]:
        if self.declines and method in ("personal_sign", "eth_signTypedData_v4"):
            return {"error": {"code": 4001, "message": "User rejected the request."}}
        match method:
            case "eth_requestAccounts":
                return {"result": [ADDRESSES[3].lower()]}
            case "eth_chainId":
                return {"result": hex(self.chain)}
            case "wallet_switchEthereumChain":
                self.chain = int(params[0]["chainId"], 16)
                return {"result": None}
            case "personal_sign":
                text = bytes.fromhex(params[0][2:])
                self.messages.append(text.decode())
                return self._signed(encode_defunct(text))
            case "eth_signTypedData_v4":
                document = json.loads(params[1])
                self.signed.append(document)
                return self._signed(encode_typed_data(full_message=document))
        return self.node(method, params)

    def _signed(self, message: Any) -> dict[str, Any]:
        found = Account.sign_message(message, development_key(3))
        return {"result": "0x" + bytes(found.signature).hex()}

    def into(self, context: BrowserContext) -> None:
        """Every page of the context finds this wallet."""
        context.expose_function("__wallet", self)
        context.add_init_script(INJECTED)


def node_at(rpc: str) -> Callable[[str, list[Any]], dict[str, Any]]:
    """A chain's node, for what a wallet asks one."""

    def ask(method: str, params: list[Any]) -> dict[str, Any]:
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(rpc, json=question, timeout=30).json()
        return {name: answer[name] for name in ("result", "error") if name in answer}

    return ask
