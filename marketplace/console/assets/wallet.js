// A wallet of the reader's own (EIP-1193, found by EIP-6963) signs in, orders, and takes its money out. The page
// holds no key. What is signed is made here from what was typed and quoted, and compared with it field by field
// before the wallet is asked; texts go into the page as text, never as markup.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("wallet");
  const market = JSON.parse(root.dataset.market);
  const words = JSON.parse(root.dataset.words);
  const at = (id) => document.getElementById(id);
  const chainHex = "0x" + market.chain.toString(16);
  const domain = { name: "Prixfixe", version: "1", chainId: market.chain, verifyingContract: market.contract };
  const DOMAIN = [["name", "string"], ["version", "string"], ["chainId", "uint256"], ["verifyingContract", "address"]]
    .map(([name, type]) => ({ name, type }));
  let provider = null, address = null, token = null, priced = null, watching = 0, busy = false, drawn = "";

  // ------------------------------------------------------------------------------------------------- showing

  const { dollars } = common;
  const word = common.speaker(words);
  const say = (text) => { at("said").textContent = text; };
  const same = (one, other) => String(one).toLowerCase() === String(other).toLowerCase();
  const make = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });
  const button = (text, act) => {
    const made = make("button", text);
    made.type = "button";
    made.className = "plain";
    made.addEventListener("click", () => run(act));
    return made;
  };
  function units(text) {
    const found = /^\s*(\d{1,12})(?:\.(\d{1,6}))?\s*$/.exec(text);
    const amount = found ? BigInt(found[1]) * 1000000n + BigInt((found[2] || "").padEnd(6, "0")) : 0n;
    if (amount <= 0n) throw new Error(word("bad_amount", { text }));
    return amount;
  }
  const show = (id, shown) => { at(id).hidden = !shown; };

  /** One thing after the other; what goes wrong is told, also what the wallet says. */
  let turn = Promise.resolve();
  const run = (act) => { turn = turn.then(() => perform(act)); };
  async function perform(act) {
    busy = true;
    at("fault").textContent = "";
    root.setAttribute("aria-busy", "true");
    try {
      await act();
    } catch (error) {
      say("");
      at("fault").textContent = error.code === 4001 ? word("declined") : String(error.message || error);
    } finally {
      busy = false;
      root.removeAttribute("aria-busy");
    }
  }

  // ------------------------------------------------------------------------------------------------- talking

  const asked = (method, params = []) => provider.request({ method, params });

  /** The service's answer. No cookie goes along: who asks is the token's address and nobody else. */
  async function send(method, path, { json, bytes, headers = {} } = {}) {
    const given = { ...headers };
    if (token) given.Authorization = "Bearer " + token;
    if (json !== undefined) given["Content-Type"] = "application/json";
    const answer = await fetch(path, {
      method, headers: given, credentials: "omit", redirect: "error",
      body: json === undefined ? bytes : JSON.stringify(json),
    });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    if (answer.status === 401 && token) leave();
    throw new Error([problem.detail || word("silent", { status: answer.status }), problem.hint].filter(Boolean).join(": "));
  }
  const call = async (...given) => (await send(...given)).json();

  async function rightChain() {
    const right = same(await asked("eth_chainId"), chainHex);
    show("wrong", !right);
    if (!right) throw new Error(word("wrong_chain", { chain: market.chain }));
  }

  const word32 = (value) => BigInt(value).toString(16).padStart(64, "0");
  const read = async (to, name, ...values) =>
    asked("eth_call", [{ to, data: market.calls[name] + values.map(word32).join("") }, "latest"]);

  /** A transaction of the wallet's own, until the chain has it. */
  async function transact(to, name, ...values) {
    await rightChain();
    const data = market.calls[name] + values.map(word32).join("");
    const hash = await asked("eth_sendTransaction", [{ from: address, to, data }]);
    say(word("sent", { hash }));
    for (let tries = 0; tries < 150; tries += 1) {
      const receipt = await asked("eth_getTransactionReceipt", [hash]);
      if (receipt && receipt.status === "0x1") return hash;
      if (receipt) throw new Error(word("reverted", { hash }));
      await new Promise((done) => setTimeout(done, 2000));
    }
    throw new Error(word("unmined", { hash }));
  }

  async function typed(primaryType, message) {
    await rightChain();
    const types = { EIP712Domain: DOMAIN, [primaryType]: market.types[primaryType] };
    return asked("eth_signTypedData_v4", [address, JSON.stringify({ types, primaryType, domain, message })]);
  }

  // ---------------------------------------------------------------------------------------- connect, sign in

  const found = new Map();
  function offer(detail) {
    if (!detail || !detail.provider || !detail.info || found.has(detail.info.uuid)) return;
    found.set(detail.info.uuid, detail);
    show("none", false);
    const line = make("li");
    line.append(button(word("connect", { name: String(detail.info.name).slice(0, 40) }), () => connect(detail.provider)));
    at("wallets").append(line);
  }
  window.addEventListener("eip6963:announceProvider", (event) => offer(event.detail));
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  if (!found.size && window.ethereum) offer({ info: { uuid: "injected", name: word("injected") }, provider: window.ethereum });
  show("none", !found.size);

  async function connect(chosen) {
    provider = chosen;
    [address] = await asked("eth_requestAccounts");
    if (!/^0x[0-9a-fA-F]{40}$/.test(address || "")) throw new Error(word("no_account"));
    if (provider.on) {
      provider.on("accountsChanged", leave);
      provider.on("chainChanged", () => run(rightChain));
    }
    await rightChain();
    await signIn();
  }

  at("switch").addEventListener("click", () => run(async () => {
    try {
      await asked("wallet_switchEthereumChain", [{ chainId: chainHex }]);
    } catch (error) {
      throw error.code === 4902 ? new Error(word("unknown_chain", { chain: market.chain })) : error;
    }
    await rightChain();
    await (token ? refresh() : signIn());
  }));

  /** EIP-4361. Some wallets give an address in lower case: the service says how it is written. */
  async function signIn() {
    const { nonce, address: written } = await call("GET", "/v1/sessions/nonce?address=" + address);
    if (!same(written, address)) throw new Error(word("other_account"));
    address = written;
    const message = [
      location.host + " wants you to sign in with your Ethereum account:", address, "", "",
      "URI: " + location.origin, "Version: 1", "Chain ID: " + market.chain, "Nonce: " + nonce,
      "Issued At: " + new Date().toISOString().replace(/\.\d+Z/, "Z"),
    ].join("\n");
    const hex = "0x" + Array.from(new TextEncoder().encode(message), (byte) => byte.toString(16).padStart(2, "0")).join("");
    say(word("sign_in"));
    const signature = await asked("personal_sign", [hex, address]);
    const session = await call("POST", "/v1/sessions", { json: { message, signature } });
    if (!same(session.address, address)) throw new Error(word("other_account"));
    ({ token, address } = session);
    at("address").textContent = address;
    show("connect", false);
    show("inside", true);
    say("");
    await refresh();
  }

  /** The token is forgotten; nothing of it was ever kept beside this page's memory. */
  function leave() {
    token = null;
    priced = null;
    clearTimeout(watching);
    show("inside", false);
    show("signing", false);
    show("connect", true);
  }
  at("leave").addEventListener("click", leave);

  // --------------------------------------------------------------------------------------------- money, jobs

  async function refresh() {
    const account = await read(market.contract, "account", address);
    at("free").textContent = dollars(BigInt("0x" + account.slice(2, 66)));
    at("earned").textContent = dollars(BigInt("0x" + account.slice(66, 130)) + BigInt("0x" + account.slice(130, 194)));
    at("held").textContent = dollars(BigInt(await read(market.token, "balanceOf", address)));
    await listed();
  }

  async function listed() {
    const { items } = await call("GET", "/v1/jobs");
    show("no-jobs", !items.length);
    show("jobs-table", items.length > 0);
    const lines = plain(items);
    if (lines !== drawn) at("jobs").replaceChildren(...items.map(row));
    drawn = lines;
    clearTimeout(watching);
    if (token && items.some((job) => job.ended_at === null)) watching = setTimeout(follow, 1500);
  }

  /** While a job goes on, without touching what is said of something else. */
  async function follow() {
    if (busy) { watching = setTimeout(follow, 500); return; }
    try {
      await refresh();
    } catch {
      if (token) watching = setTimeout(follow, 5000);
    }
  }

  function row(job) {
    const line = make("tr");
    const name = make("th", job.id.slice(0, 10) + "…");
    name.scope = "row";
    const acts = make("td");
    if (job.ended_at === null) acts.append(button(word("cancel"), () => cancel(job)));
    else {
      for (const file of job.outputs) acts.append(button(file.path, () => fetched(job, file)));
      acts.append(button(word("receipt"), () => save(`/v1/jobs/${job.id}/receipt`, "receipt.json")));
    }
    const state = make("td", words["state." + job.state] || job.state);
    if (job.reason) state.append(make("br"), make("span", job.reason.message));
    line.append(name, make("td", job.bundle || job.kind), state, make("td", dollars(job.quoted)),
      make("td", dollars(job.charged)), acts);
    return line;
  }

  async function cancel(job) {
    await call("POST", `/v1/jobs/${job.id}/cancel`);
    await refresh();
  }

  const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const sha256 = async (buffer) => hex(await crypto.subtle.digest("SHA-256", buffer));

  async function save(path, name, digest) {
    const bytes = await (await send("GET", path)).arrayBuffer();
    if (digest && (await sha256(bytes)) !== digest) throw new Error(word("altered", { name }));
    keep(new Blob([bytes]), name);
  }
  const fetched = (job, file) =>
    save(`/v1/jobs/${job.id}/outputs/${file.path.split("/").map(encodeURIComponent).join("/")}`,
      file.path.split("/").pop(), file.sha256);

  function keep(blob, name) {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  // ------------------------------------------------------------------------------------------------- ordering

  const form = at("order");
  if (form) form.addEventListener("submit", (event) => { event.preventDefault(); run(price); });
  if (form) form.addEventListener("input", () => { priced = null; show("signing", false); });
  if (form) at("sign").addEventListener("click", () => run(order));

  /** Members sorted, so that two values that say the same are the same text. */
  const plain = (value) => JSON.stringify(value, (_, given) => (given && typeof given === "object" && !Array.isArray(given)
    ? Object.fromEntries(Object.entries(given).sort(([one], [other]) => (one < other ? -1 : 1))) : given));

  async function price() {
    const file = at("input").files[0];
    if (!file) throw new Error(word("no_file"));
    let parameters;
    try {
      parameters = JSON.parse(at("parameters").value);
    } catch {
      throw new Error(word("bad_parameters"));
    }
    if (!crypto.subtle) throw new Error(word("insecure"));
    say(word("reading"));
    const bytes = await file.arrayBuffer();
    const input = { name: file.name, sha256: await sha256(bytes), size: bytes.byteLength };
    const request = { customer: address, bundle: market.bundle, parameters, inputs: [input], units: Number(at("units").value) };
    const quote = await call("POST", "/v1/quotes", { json: request });
    const message = {
      customer: quote.customer, bundle: quote.offer_id, price: quote.price, tasks: quote.tasks, lot: quote.lot,
      job: quote.job, expiry: quote.order_expiry, deliverBy: quote.deliver_by, era: quote.era,
      nonce: BigInt("0x" + hex(crypto.getRandomValues(new Uint8Array(8)))).toString(),
    };
    priced = { request, quote, message, bytes };
    compare(priced);
    at("price").textContent = dollars(quote.total);
    at("price-of").textContent = `${quote.bundle} ${quote.version}, ${quote.units} ${quote.unit} (${quote.tier})`;
    at("due").textContent = moment(quote.deliver_by);
    at("message").replaceChildren(...Object.entries(message).flatMap(([name, value]) =>
      [make("dt", name), make("dd", shown(name, value))]));
    show("signing", true);
    at("sign").disabled = BigInt(quote.balance) < BigInt(quote.total);
    say(at("sign").disabled ? word("short", { balance: dollars(quote.balance) }) : "");
  }

  const moment = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 16) + " UTC";
  const shown = (name, value) =>
    name === "price" ? `${value} (${dollars(value)})` : ["expiry", "deliverBy"].includes(name) ? `${value} (${moment(value)})` : String(value);

  /** Nothing is shown, and nothing signed, that is not what was typed and what is quoted. */
  function compare({ request, quote, message }) {
    const kept = Object.fromEntries(Object.keys(request.parameters).map((name) => [name, quote.manifest.parameters[name]]));
    const wrong = [
      ["customer", same(message.customer, address)],
      ["bundle", quote.bundle === request.bundle && quote.manifest.bundle.id === request.bundle],
      ["units", quote.units === request.units],
      ["parameters", plain(kept) === plain(request.parameters)],
      ["inputs", plain(quote.manifest.inputs) === plain(request.inputs)],
      ["price", BigInt(message.price) * BigInt(message.tasks) === BigInt(quote.total) && quote.offer.price === quote.price],
      ["deliverBy", message.deliverBy === quote.deliver_by && message.expiry <= message.deliverBy],
    ].filter(([, right]) => !right).map(([name]) => name);
    if (wrong.length) throw new Error(word("differs", { what: wrong.join(", ") }));
  }

  async function order() {
    const mine = priced;
    if (!mine) throw new Error(word("priced_anew"));
    compare(mine);
    const { request, quote, message, bytes } = mine;
    say(word("uploading"));
    await send("PUT", "/v1/blobs/" + request.inputs[0].sha256, { bytes, headers: { "Content-Type": "application/octet-stream" } });
    say(word("sign_order", { price: dollars(quote.total) }));
    const signature = await typed("Purchase", message);
    const job = await call("POST", "/v1/jobs", { json: { quote: quote.id, order: message, signature } });
    priced = null;
    show("signing", false);
    say(word("ordered", { job: job.id.slice(0, 10) }));
    await refresh();
  }

  // ------------------------------------------------------------------------------------------------- leaving

  at("withdraw").addEventListener("submit", (event) => {
    event.preventDefault();
    run(async () => {
      const hash = await transact(market.contract, "withdraw", address, units(at("out").value));
      await refresh();
      say(word("withdrawn", { hash }));
    });
  });
  at("deposit").addEventListener("submit", (event) => {
    event.preventDefault();
    run(async () => {
      const amount = units(at("into").value);
      await transact(market.token, "approve", market.contract, amount);
      const hash = await transact(market.contract, "deposit", amount);
      await refresh();
      say(word("deposited", { hash }));
    });
  });
  at("hand-over").addEventListener("click", () => run(async () => {
    const day = Math.floor(Date.now() / 1000) + 86400;
    const message = {
      account: address, to: address, amount: units(at("out").value).toString(), fee: at("fee").value.trim() ? units(at("fee").value).toString() : "0",
      nonce: BigInt("0x" + hex(crypto.getRandomValues(new Uint8Array(8)))).toString(), deadline: day,
    };
    const signature = await typed("Withdraw", message);
    const signed = { version: 1, type: "Withdraw", chainId: market.chain, contract: market.contract, message, signature };
    keep(new Blob([JSON.stringify(signed)], { type: "application/json" }), "withdrawal.json");
    say(word("handed_over"));
  }));
});
