// The run page for who has a wallet: who asks is its session, paying is its signature, and the job is followed
// on the same page, as the session lasts no longer than the page.
"use strict";
/** words: the run page's. step: does what it is given in place of what is being done, and tells what goes wrong;
 * told to hold, it takes nothing else meanwhile. stop: drops what is being done. patiently: makes a call as often
 * as it takes. quoted: asks for the price once more. remember: has the page begin with an earlier order's parameters. */
const walletPayer = ({ hasher, words, step, stop, patiently, tell, tellFault, quoted, remember }) => {
  const at = (id) => document.getElementById(id);
  const page = at("wallet").dataset;
  const market = JSON.parse(page.market);
  const word = common.speaker(JSON.parse(page.words));
  const session = walletSession({
    market, word, run: step, say: tell, lost: words.lost, busy: words.busy,
    entered: async () => {
      const { of } = at("run").dataset;
      try {
        if (of) remember(await (await session.call("GET", `/wallet/jobs/${of}/parameters`)).json());
      } finally {
        if (session.open) at("flow").hidden = false;
        at("file").focus();
      }
    },
    left: ({ expired }) => {
      if (!expired) { stop(); tell(""); } // else it is told of by what was being done
      at("flow").hidden = at("columns").hidden = at("price").hidden = true;
      job.hide();
    },
  });
  const order = walletOrder({ session, market, word, hasher, digests: page.digests });
  // A file of the job's is taken while another one is being sent.
  const job = walletJob({ session, word, hasher, run: async (act) => {
    tellFault("");
    await act().catch((error) => tellFault(session.fault(error)));
  } });
  const missing = ({ balance, total }) => (BigInt(total) > BigInt(balance) ? BigInt(total) - BigInt(balance) : 0n);
  let shown = null; // the quote

  at("deposit").addEventListener("click", () => step(async (current) => {
    // What came meanwhile, by a transaction that the wallet sent once more with another fee, is not sent again.
    const [free] = await session.read(market.contract, "account", session.address);
    try {
      if (free === BigInt(shown.balance)) await session.deposit(missing(shown));
    } finally {
      if (current()) await quoted(current);
    }
  }, true));
  return {
    call: session.call,
    fault: session.fault,
    address: () => session.address,
    async priced(request, quote, current) {
      const made = await order.make(request, quote);
      if (!current()) return null;
      order.show(made);
      shown = quote;
      const more = missing(quote);
      at("spendable").textContent = word("spendable", { spendable: common.dollars(quote.balance) });
      at("short").hidden = more === 0n;
      at("pay").hidden = more > 0n;
      at("deposit").textContent = word("deposit_missing", { missing: common.dollars(more) });
      return made;
    },
    async pay({ quote, made }, current) {
      tell(word("sign_order", { price: common.dollars(quote.total) }));
      const json = await order.sign(made);
      if (!current()) return;
      const answer = await patiently(() => session.call("POST", "/v1/jobs", { json }));
      const { id } = await answer.json();
      if (!current()) return;
      order.require(made, id);
      at("price").hidden = at("columns").hidden = true;
      tell("");
      await job.show(id);
    },
  };
};
