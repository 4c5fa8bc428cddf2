// The page of a wallet: what the contract holds for it, its jobs, and money in and out.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const at = (id) => document.getElementById(id);
  const root = at("wallet");
  const market = JSON.parse(root.dataset.market);
  const words = JSON.parse(root.dataset.words);
  const { hasher } = root.dataset;
  let watching = 0, busy = false, drawn = "";

  // ------------------------------------------------------------------------------------------------- showing

  const { dollars, element } = common;
  const word = common.speaker(words);
  const say = (text) => { at("said").textContent = text; };
  const button = (text, act) => {
    const made = element("button", { type: "button", className: "plain", textContent: text });
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
      at("fault").textContent = session.fault(error);
    } finally {
      busy = false;
      root.removeAttribute("aria-busy");
    }
  }

  const session = walletSession({ market, word, run, say, entered: () => { show("inside", true); return refresh(); }, left });
  const job = walletJob({ session, word, run, hasher });
  const call = async (...given) => (await session.call(...given)).json();
  function left() {
    clearTimeout(watching);
    show("inside", false);
    job.hide();
  }

  // --------------------------------------------------------------------------------------------- money, jobs

  async function refresh() {
    const [free, current, previous] = await session.read(market.contract, "account", session.address);
    at("free").textContent = dollars(free);
    at("earned").textContent = dollars(current + previous);
    const [held] = await session.read(market.token, "balanceOf", session.address);
    at("held").textContent = dollars(held);
    await listed();
  }

  async function listed() {
    const { items } = await call("GET", "/v1/jobs");
    show("no-jobs", !items.length);
    show("jobs-table", items.length > 0);
    const lines = JSON.stringify(items);
    if (lines !== drawn) at("jobs").replaceChildren(...items.map(row));
    drawn = lines;
    clearTimeout(watching);
    if (session.open && items.some((each) => each.ended_at === null)) watching = setTimeout(follow, 1500);
  }

  /** What moved is said already: a node that is taking in its block may fail to tell the account anew. */
  async function shown() {
    try {
      await refresh();
    } catch {
      clearTimeout(watching);
      watching = setTimeout(follow, 1500);
    }
  }

  /** While a job goes on, without touching what is said of something else. */
  async function follow() {
    if (busy) { watching = setTimeout(follow, 500); return; }
    try {
      await refresh();
    } catch {
      if (session.open) watching = setTimeout(follow, 5000);
    }
  }

  function row(one) {
    const name = element("th", { scope: "row" }, button(`${one.id.slice(0, 10)}…`, () => job.show(one.id)));
    const texts = [one.bundle || one.kind, words["state." + one.state] || one.state, dollars(one.quoted), dollars(one.charged)];
    return element("tr", {}, name, ...texts.map((textContent) => element("td", { textContent })));
  }

  // ------------------------------------------------------------------------------------------------- leaving

  at("withdraw").addEventListener("submit", (event) => {
    event.preventDefault();
    run(async () => {
      const hash = await session.transact(market.contract, "withdraw", session.address, units(at("out").value));
      say(word("withdrawn", { hash }));
      await shown();
    });
  });
  at("deposit").addEventListener("submit", (event) => {
    event.preventDefault();
    run(async () => {
      const hash = await session.deposit(units(at("into").value));
      say(word("deposited", { hash }));
      await shown();
    });
  });
  at("hand-over").addEventListener("click", () => run(async () => {
    const day = Math.floor(Date.now() / 1000) + 86400;
    const message = {
      account: session.address, to: session.address, amount: units(at("out").value).toString(), fee: at("fee").value.trim() ? units(at("fee").value).toString() : "0",
      nonce: session.nonce(), deadline: day,
    };
    const signature = await session.typed("Withdraw", message);
    const signed = { version: 1, type: "Withdraw", chainId: market.chain, contract: market.contract, message, signature };
    job.keep(new Blob([JSON.stringify(signed)], { type: "application/json" }), "withdrawal.json");
    say(word("handed_over"));
  }));
});
