// An order made of what was asked for and what was quoted, compared with both before the wallet is asked to sign
// it. Texts go into the page as text, never as markup.
"use strict";
/** hasher, digests: where the scripts of SHA-256 and of Keccak-256 are. */
const walletOrder = ({ session, market, word, hasher, digests }) => {
  const at = (id) => document.getElementById(id);
  const moment = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 16) + " UTC";
  const shown = (name, value) =>
    name === "price" ? `${value} (${common.dollars(value)})` : ["expiry", "deliverBy"].includes(name) ? `${value} (${moment(value)})` : String(value);

  /** RFC 8785, of values without fractions: members sorted by UTF-16, no spaces. */
  const canonical = (value) => {
    if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
    if (value === null || typeof value !== "object") return JSON.stringify(value);
    return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
  };

  const sha256 = async (value) => "0x" + (await common.digest(hasher, new Blob([canonical(value)])));

  /** Nothing is shown, and nothing signed, that is not what was asked for and what is quoted. */
  async function compare({ request, quote, message }) {
    const { manifest, offer } = quote;
    const { hashWords } = await import(digests);
    const application = { definition: manifest.bundle.definition, image: manifest.image, tier: quote.tier };
    const terms = [offer.product, offer.application, offer.price, offer.maxCost, offer.quorum, offer.disputable];
    // As prixfixe.protocol.replicas.quorum_of.
    const quorum = request.replicas >= 3 ? Math.floor(request.replicas / 2) + 1 : request.replicas;
    const wrong = [
      ["customer", session.same(message.customer, session.address)],
      ["bundle", quote.bundle === request.bundle && manifest.bundle.id === request.bundle],
      ["version", [quote.version, manifest.bundle.version].every((version) => version === request.version)],
      ["tier", manifest.bundle.tier === quote.tier],
      ["replicas", (quote.replicas || 1) === request.replicas && offer.quorum === quorum],
      ["units", quote.units === request.units],
      ["tasks", [message.tasks, message.lot, manifest.tasks].every((count) => count === 1)], // of any bundle
      ["parameters", canonical(manifest.parameters) === canonical(request.parameters)],
      ["inputs", canonical(manifest.inputs) === canonical(request.inputs)],
      ["job", message.job === (await sha256(manifest))],
      ["offer", message.bundle === hashWords(...terms) && offer.application === (await sha256(application))],
      ["price", BigInt(message.price) * BigInt(message.tasks) === BigInt(quote.total) && offer.price === quote.price],
      ["deliverBy", message.deliverBy === quote.deliver_by && message.expiry <= message.deliverBy],
    ].filter(([, right]) => !right).map(([name]) => name);
    if (wrong.length) throw new Error(word("differs", { what: wrong.join(", ") }));
  }

  /** What would be signed. */
  async function make(request, quote) {
    const made = {
      request, quote,
      message: {
        customer: quote.customer, bundle: quote.offer_id, price: quote.price, tasks: quote.tasks, lot: quote.lot,
        job: quote.job, expiry: quote.order_expiry, deliverBy: quote.deliver_by, era: quote.era, nonce: session.nonce(),
      },
    };
    await compare(made);
    const { hashTyped } = await import(digests);
    made.hashes = hashTyped(session.domain, "Purchase", market.types.Purchase, made.message);
    return made;
  }

  /** Field by field as the wallet shows it. */
  function show({ hashes, message, quote }) {
    for (const [name, value] of Object.entries(hashes)) at(`hash-${name}`).textContent = value;
    at("due").textContent = moment(quote.deliver_by);
    at("message").replaceChildren(...Object.entries(message).flatMap(([name, value]) =>
      [common.element("dt", { textContent: name }), common.element("dd", { textContent: shown(name, value) })]));
  }

  /** The wallet's signature under it: what is sent, as often as it takes; the same order is the same job. */
  async function sign(made) {
    await compare(made);
    const signature = await session.typed("Purchase", made.message);
    return { quote: made.quote.id, order: made.message, signature };
  }

  /** The job's number is the order's digest: another one is of another order. */
  function require(made, job) {
    if (job !== made.hashes.digest) throw new Error(word("other_job", { job }));
  }

  return { make, show, sign, require };
};
