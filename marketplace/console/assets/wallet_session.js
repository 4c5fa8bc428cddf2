// A wallet of the reader's own (EIP-1193, found by EIP-6963) and the session that it opens (EIP-4361). The token
// is in this closure and nowhere else: no cookie, no storage; a page that is loaded anew has none.
"use strict";
/** market: numbers of the market. word: texts. run: does what it is given, and tells what goes wrong. say: tells.
 * lost, busy: see common.caller. entered, left: what the page does when somebody is signed in,
 * or no longer; expired: as a call was refused, which fails besides. */
const walletSession = ({ market, word, run, say, lost = word("lost"), busy = word("lost"), entered, left }) => {
  const at = (id) => document.getElementById(id);
  const show = (id, shown) => { at(id).hidden = !shown; };
  const same = (one, other) => String(one).toLowerCase() === String(other).toLowerCase();
  const chainHex = "0x" + market.chain.toString(16);
  const domain = { name: "Prixfixe", version: "1", chainId: market.chain, verifyingContract: market.contract };
  const DOMAIN = [["name", "string"], ["version", "string"], ["chainId", "uint256"], ["verifyingContract", "address"]]
    .map(([name, type]) => ({ name, type }));
  let provider = null, address = null, token = null;
  let unheard = () => {}; // ends what a wallet was listened to for

  const hex = (bytes) => "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const nonce = () => BigInt(hex(crypto.getRandomValues(new Uint8Array(8)))).toString();
  const asked = (method, params = []) => provider.request({ method, params });
  // No cookie goes along: who asks is the token's address and nobody else. The language is the page's.
  const given = () => ({
    "Accept-Language": document.documentElement.lang, ...(token ? { Authorization: "Bearer " + token } : {}),
  });
  const call = common.caller({ given, lost, busy, credentials: "omit", ended: () => forget({ expired: true }) });

  // ------------------------------------------------------------------------------------ connect, sign in

  const found = new Map();
  function offer(detail) {
    if (!detail || !detail.provider || !detail.info || found.has(detail.info.uuid)) return;
    found.set(detail.info.uuid, detail);
    show("none", false);
    const name = String(detail.info.name).slice(0, 40);
    const button = common.element("button", { type: "button", textContent: word("connect", { name }) });
    button.addEventListener("click", () => run(() => connect(detail.provider)));
    at("wallets").append(common.element("li", {}, button));
  }
  window.addEventListener("eip6963:announceProvider", (event) => offer(event.detail));
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  if (!found.size && window.ethereum) offer({ info: { uuid: "injected", name: word("injected") }, provider: window.ethereum });
  show("none", !found.size);

  async function connect(chosen) {
    unheard();
    provider = chosen;
    [address] = await asked("eth_requestAccounts");
    if (!/^0x[0-9a-fA-F]{40}$/.test(address || "")) throw new Error(word("no_account"));
    hear(chosen, { accountsChanged: () => leave(), chainChanged: (chain) => show("wrong", !same(chain, chainHex)) });
    await rightChain();
    await signIn();
  }

  /** A wallet's events, until another one is connected or somebody signs out. */
  function hear(wallet, acts) {
    let heard = true;
    const listeners = Object.entries(acts).map(([kind, act]) => [kind, (told) => heard && act(told)]);
    for (const each of listeners) wallet.on?.(...each);
    unheard = () => {
      heard = false; // some wallets take no listener back
      for (const each of listeners) wallet.removeListener?.(...each);
    };
  }

  /** Nothing is signed on another chain, nor what was begun by who signed out meanwhile. */
  async function rightChain(mine = token) {
    const right = same(await asked("eth_chainId"), chainHex);
    if (token !== mine) throw new Error(word("ended"));
    show("wrong", !right);
    if (!right) throw new Error(word("wrong_chain", { chain: market.chain }));
  }

  at("switch").addEventListener("click", () => run(async () => {
    try {
      await asked("wallet_switchEthereumChain", [{ chainId: chainHex }]);
    } catch (error) {
      throw error.code === 4902 ? new Error(word("unknown_chain", { chain: market.chain })) : error;
    }
    await rightChain();
    if (address && !token) await signIn();
  }));

  /** Some wallets give an address in lower case: the service says how it is written. */
  async function signIn() {
    const { nonce, address: written } = await (await call("GET", "/v1/sessions/nonce?address=" + address)).json();
    if (!same(written, address)) throw new Error(word("other_account"));
    address = written;
    const message = [
      location.host + " wants you to sign in with your Ethereum account:", address, "", "",
      "URI: " + location.origin, "Version: 1", "Chain ID: " + market.chain, "Nonce: " + nonce,
      "Issued At: " + new Date().toISOString().replace(/\.\d+Z/, "Z"),
    ].join("\n");
    say(word("sign_in"));
    const signature = await asked("personal_sign", [hex(new TextEncoder().encode(message)), address]);
    const session = await (await call("POST", "/v1/sessions", { json: { message, signature } })).json();
    if (!same(session.address, address)) throw new Error(word("other_account"));
    ({ token, address } = session);
    at("address").textContent = address;
    show("connect", false);
    show("signed-in", true);
    say("");
    await entered();
  }

  /** The token is forgotten here, where nothing of it was kept beside this page's memory, and at the service. */
  function leave() {
    if (!token) return;
    fetch("/v1/sessions", { method: "DELETE", headers: given(), credentials: "omit", keepalive: true }).catch(() => {});
    forget();
  }
  function forget({ expired = false } = {}) {
    unheard();
    token = address = null;
    show("signed-in", false);
    show("connect", true);
    left({ expired });
  }
  at("leave").addEventListener("click", leave);

  // ------------------------------------------------------------------------------------ sign, read, send

  /** What the wallet shows and signs: EIP-712, of this market's contract on its chain. */
  async function typed(primaryType, message) {
    await rightChain();
    const types = { EIP712Domain: DOMAIN, [primaryType]: market.types[primaryType] };
    return asked("eth_signTypedData_v4", [address, JSON.stringify({ types, primaryType, domain, message })]);
  }

  const encoded = (name, values) =>
    market.calls[name] + values.map((value) => BigInt(value).toString(16).padStart(64, "0")).join("");
  /** The numbers that a call answers, each of one word. */
  async function read(to, name, ...values) {
    const answer = await asked("eth_call", [{ to, data: encoded(name, values) }, "latest"]);
    return answer.match(/[0-9a-f]{64}/gi).map((digits) => BigInt("0x" + digits));
  }

  /** A transaction of the wallet's own, until the chain has it. */
  async function transact(to, name, ...values) {
    const mine = token;
    await rightChain();
    const hash = await asked("eth_sendTransaction", [{ from: address, to, data: encoded(name, values) }]);
    say(word("sent", { hash }));
    for (let tries = 0; tries < 150; tries += 1) {
      const receipt = await asked("eth_getTransactionReceipt", [hash]);
      if (token !== mine) throw new Error(word("ended"));
      if (receipt && receipt.status === "0x1") return hash;
      if (receipt) throw new Error(word("reverted", { hash }));
      await new Promise((done) => setTimeout(done, 2000));
    }
    throw new Error(word("unmined", { hash }));
  }

  /** Two transactions: the contract may take the amount, and takes it. Units, and the second one's hash. */
  async function deposit(amount) {
    await transact(market.token, "approve", market.contract, amount);
    return transact(market.contract, "deposit", amount);
  }

  common.get = (path, headers = {}) => fetch(path, { headers: { ...given(), ...headers }, credentials: "omit" });
  return {
    call, domain, typed, read, transact, deposit, same, nonce,
    get address() { return address; },
    get open() { return token !== null; },
    // What an error says: a wallet's own word for no is a number.
    fault: (error) => (error.code === 4001 ? word("declined") : String(error.message || error)),
  };
};
