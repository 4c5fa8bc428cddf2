// A customer of a Prixfixe market in plain JavaScript, made from docs/typed-data.md, GET /v1/openapi.json and
// GET /v1/protocol alone. It needs viem (npm install viem) and nothing else. Nothing that the service says is
// believed where it can be checked: chain and contract are the caller's own, and the operator is the chain's.
import { createHash, randomBytes } from "node:crypto";
import {
  concat, createPublicClient, encodeAbiParameters, encodePacked, hashTypedData, http, isAddressEqual, keccak256,
  parseAbi, recoverTypedDataAddress,
} from "viem";

const VIEWS = parseAbi([
  "function account(address owner) view returns (uint64 free, uint64 cur, uint64 prev, uint32 era)",
  "function config() view returns (address scheduler, uint16 feeBps, bool paused, uint64 depositCap, uint64 held)",
  "function bundles(bytes32 id) view returns (uint40 until, uint96 float)",
  "function lot(bytes32 order, uint32 index) view returns (bytes32)",
]);
const SUCCEEDED = 0;

export class Refused extends Error {}

function require(holds, what) {
  if (!holds) throw new Refused(what);
}

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** RFC 8785: JavaScript's own texts and numbers, members sorted by UTF-16, no spaces. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(",")}}`;
}

const digestOf = (value) => `0x${sha256(canonical(value))}`;

function without(object, name) {
  const { [name]: _, ...rest } = object;
  return rest;
}

/** keccak256(abi.encode(...)) of words: [type, value] each. */
const hashWords = (...words) => keccak256(encodeAbiParameters(words.map(([type]) => ({ type })), words.map(([, v]) => v)));

/** The root over a lot's leaves; a node without a sibling goes up as it is. */
export function merkleRoot(leaves) {
  let level = leaves;
  while (level.length > 1) {
    const next = [];
    for (let at = 0; at < level.length; at += 2)
      next.push(at + 1 < level.length ? keccak256(concat(["0x01", level[at], level[at + 1]])) : level[at]);
    level = next;
  }
  return level[0];
}

const leaf = (index, status, digest) =>
  keccak256(encodePacked(["uint8", "uint32", "uint8", "bytes32"], [0, index, status, digest]));

/** The id of a deal: order, two packed words, and two words of each leg. */
function dealId(deal) {
  const head = BigInt(deal.customer) | BigInt(deal.lot) << 160n | BigInt(deal.count) << 192n
    | BigInt(deal.quorum) << 208n | BigInt(deal.disputable) << 216n;
  const money = BigInt(deal.price) | BigInt(deal.fee) << 96n;
  const legs = deal.legs.map((leg) => [BigInt(leg.provider) | BigInt(leg.pay) << 160n, leg.key]);
  return keccak256(encodeAbiParameters(
    [{ type: "bytes32" }, { type: "uint256" }, { type: "uint256" },
     { type: "tuple[]", components: [{ type: "uint256" }, { type: "address" }] }],
    [deal.order, head, money, legs],
  ));
}

export class Market {
  /** chainId, contract: from a source that you trust. account: a viem account that signs typed data. */
  constructor({ service, chainId, contract, rpc, account }) {
    Object.assign(this, { service, chainId, contract, account });
    this.chain = createPublicClient({ transport: http(rpc) });
  }

  /** Asks what the market is; refuses any other than the caller's. */
  async open() {
    this.market = await this.call("GET", "/v1/market");
    this.protocol = await this.call("GET", "/v1/protocol");
    const { domain } = this.protocol;
    require(this.market.chain_id === this.chainId && domain.chainId === this.chainId, "the service is on another chain");
    require(isAddressEqual(domain.verifyingContract, this.contract), "the service serves another contract");
    require(await this.chain.getChainId() === this.chainId, "the node is on another chain");
    const [scheduler] = await this.read("config");
    this.operator = scheduler;
    require(isAddressEqual(this.market.operator, scheduler), "the service is not the contract's operator");
  }

  read(functionName, ...args) {
    return this.chain.readContract({ address: this.contract, abi: VIEWS, functionName, args });
  }

  async request(method, path, { body, bytes, headers = {} } = {}) {
    const given = { ...headers, ...(this.token ? { Authorization: `Bearer ${this.token}` } : {}) };
    if (body !== undefined) given["Content-Type"] = "application/json";
    const answer = await fetch(this.service + path, {
      method, headers: given, body: body === undefined ? bytes : JSON.stringify(body), redirect: "error",
    });
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      throw new Refused([problem.code ?? answer.status, problem.detail, problem.hint].filter(Boolean).join(": "));
    }
    return answer;
  }

  async call(...given) {
    return (await this.request(...given)).json();
  }

  /** EIP-4361: the service's nonce, signed, is a token for a day. */
  async signIn() {
    const { nonce } = await this.call("GET", "/v1/sessions/nonce");
    const { host } = new URL(this.service);
    const message = [
      `${host} wants you to sign in with your Ethereum account:`, this.account.address, "", "",
      `URI: ${this.service}`, "Version: 1", `Chain ID: ${this.chainId}`, `Nonce: ${nonce}`,
      `Issued At: ${new Date().toISOString().replace(/\.\d+Z/, "Z")}`,
    ].join("\n");
    const signature = await this.account.signMessage({ message });
    this.token = (await this.call("POST", "/v1/sessions", { body: { message, signature } })).token;
  }

  /** Typed data of one of the protocol's types; decimal texts of wide integers become what viem takes. */
  typed(primaryType, given) {
    const fields = this.protocol.types[primaryType];
    const message = Object.fromEntries(fields.map(({ name, type }) =>
      [name, type.startsWith("uint") ? BigInt(given[name]) : given[name]]));
    return { domain: this.protocol.domain, types: { [primaryType]: fields }, primaryType, message };
  }

  async requireSigner(primaryType, message, signature, expected, what) {
    const signer = await recoverTypedDataAddress({ ...this.typed(primaryType, message), signature });
    require(isAddressEqual(signer, expected), `${what} is not signed by ${expected}`);
  }

  async upload(bytes) {
    const name = sha256(bytes);
    const headers = { "Content-Type": "application/octet-stream" };
    await this.request("PUT", `/v1/blobs/${name}`, { bytes, headers });
    return name;
  }

  /** A price for exactly this, checked. inputs: [{name, sha256, size}]. */
  async quote({ bundle, parameters, inputs, units }) {
    const body = { customer: this.account.address, bundle, parameters, inputs, units };
    const quote = await this.call("POST", "/v1/quotes", { body });
    await this.checkQuote(quote);
    const { manifest } = quote;
    const asked = [bundle, units, canonical(parameters), canonical(inputs), this.account.address];
    // The service fills in the defaults of parameters that were left out; those that were given must be there.
    const kept = Object.fromEntries(Object.keys(parameters).map((name) => [name, manifest.parameters[name]]));
    const got = [quote.bundle, quote.units, canonical(kept), canonical(manifest.inputs), quote.customer];
    require(canonical(asked) === canonical(got), "the quote is for something else than was asked");
    return quote;
  }

  /** What must hold in a quote by itself: the operator's signature over all of it, and that it is consistent. */
  async checkQuote(quote) {
    const signed = {
      customer: quote.customer, bundle: quote.offer_id, job: quote.job, total: quote.total,
      expiry: quote.expires_at, document: digestOf(without(quote, "signature")),
    };
    await this.requireSigner("Quote", signed, quote.signature, this.operator, "the quote");
    require(quote.job === digestOf(quote.manifest), "the quote's job is not the digest of its manifest");
    require(BigInt(quote.total) === BigInt(quote.price) * BigInt(quote.tasks), "the total is not price x tasks");
    const { offer } = quote;
    require(quote.offer_id === hashWords(
      ["bytes32", offer.product], ["bytes32", offer.application], ["uint96", BigInt(offer.price)],
      ["uint96", BigInt(offer.maxCost)], ["uint8", offer.quorum], ["bool", offer.disputable],
    ), "the offer's id is not its hash");
    require(offer.price === quote.price, "the price is not the offer's");
    const application = { definition: quote.manifest.bundle.definition, image: quote.manifest.image, tier: quote.tier };
    require(offer.application === digestOf(application), "the offer is of another definition, image or tier");
  }

  /** The order that accepts a quote. nonce: of an order that is known already. */
  purchaseOf(quote, nonce) {
    return {
      customer: quote.customer, bundle: quote.offer_id, price: quote.price, tasks: quote.tasks, lot: quote.lot,
      job: quote.job, expiry: quote.order_expiry, deliverBy: quote.deliver_by, era: quote.era, nonce,
    };
  }

  /** Signs and sends. The job's id is the order's digest: sending the same order again is the same job. */
  async buy(quote) {
    const order = this.purchaseOf(quote, BigInt(`0x${randomBytes(8).toString("hex")}`).toString());
    const typed = this.typed("Purchase", order);
    const signature = await this.account.signTypedData(typed);
    const job = await this.call("POST", "/v1/jobs", { body: { quote: quote.id, order, signature } });
    require(job.id === hashTypedData(typed), "the service made another job of this order");
    return job;
  }

  /** The job once it has ended: told by its events (SSE), which go on after a lost connection. */
  async wait(id) {
    for (let last = 0; ;) {
      const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": String(last) } : {}) };
      try {
        const stream = await this.request("GET", `/v1/jobs/${id}/events`, { headers });
        const reader = (stream.body ?? new Blob([]).stream()).pipeThrough(new TextDecoderStream());
        let text = "";
        for await (const piece of reader) {
          text += piece;
          for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2))
            last = Number(/^id: ?(\d+)$/m.exec(text.slice(0, end))?.[1] ?? last);
        }
      } catch (error) {
        if (error instanceof Refused) throw error;
      }
      const job = await this.call("GET", `/v1/jobs/${id}`);
      if (job.ended_at !== null) return job;
    }
  }

  /** The bytes of an output, checked against the digest that its worker signed. */
  async download(job, file) {
    const path = file.path.split("/").map(encodeURIComponent).join("/");
    const answer = await this.request("GET", `/v1/jobs/${job.id}/outputs/${path}`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    require(sha256(bytes) === file.sha256, `${file.path} is not what its worker signed`);
    return bytes;
  }

  async receipt(id) {
    return (await this.request("GET", `/v1/jobs/${id}/receipt`)).text();
  }

  /** Every check of a receipt of a bundle's job without disputes; the sentences that hold. files: of bytes. */
  async verify(text, files = []) {
    const receipt = JSON.parse(text);
    require(canonical(receipt) === text, "the receipt is not spelled as it was issued");
    require(receipt.chain_id === this.chainId && isAddressEqual(receipt.contract, this.contract), "it is of another market");
    const seal = { order: receipt.job, charged: receipt.charged, document: digestOf(without(receipt, "signature")) };
    await this.requireSigner("Receipt", seal, receipt.signature, this.operator, "the receipt");
    const { order, quote } = receipt;
    require(hashTypedData(this.typed("Purchase", order)) === receipt.job, "the job's id is not the order's digest");
    await this.requireSigner("Purchase", order, receipt.order_signature, order.customer, "the order");
    await this.checkQuote(quote);
    const quoted = { ...this.purchaseOf(quote, order.nonce), expiry: order.expiry };
    require(canonical(quoted) === canonical(order) && order.expiry <= quote.order_expiry, "the order is not as quoted");
    require(digestOf(receipt.definition) === `0x${quote.manifest.bundle.definition}`, "another definition was sold");
    const [until] = await this.read("bundles", order.bundle);
    require(until > 0, "the contract does not know the offer");
    const known = ["the operator sealed the receipt and signed the quote", "the customer signed the order as quoted"];
    let kept = 0n;
    for (const lot of receipt.lots.filter((each) => each.outcome === "settled")) kept += await this.checkLot(receipt, lot);
    require(BigInt(receipt.charged) === kept && kept <= BigInt(quote.total), "the charge is not what the deals cost");
    known.push("the deals are of this order, their workers signed these outputs, and the contract says so too");
    const outputs = receipt.lots.flatMap((lot) => lot.tasks).flatMap((task) => task.outputs.files);
    for (const bytes of files)
      require(outputs.some((file) => file.sha256 === sha256(bytes)), "a file is not an output of this job");
    known.push(`${files.length} file(s) are outputs that were signed`);
    return { receipt, known };
  }

  /** What a settled lot cost, once it is proven. */
  async checkLot(receipt, lot) {
    const { deal } = lot;
    const id = dealId(deal);
    require(id === lot.deal_id && deal.order === receipt.job, "the deal is of another order");
    require(deal.price === receipt.order.price && isAddressEqual(deal.customer, receipt.order.customer),
      "the deal has another price or customer");
    require(deal.bundle === receipt.order.bundle && deal.quorum === receipt.quote.offer.quorum, "the deal is of another offer");
    require(lot.tasks.length === deal.count, "tasks are missing");
    const root = merkleRoot(lot.tasks.map((task, at) => leaf(at, task.status, digestOf(task.outputs))));
    require(root === lot.root, "the outputs are not under the root that was signed");
    require(lot.done === lot.tasks.filter((task) => task.status === SUCCEEDED).length, "other tasks are paid than succeeded");
    let signed = 0;
    let unpaid = 0n;
    for (const [at, leg] of deal.legs.entries()) {
      if (lot.signatures[at] === "0x") { unpaid += BigInt(leg.pay); continue; }
      await this.requireSigner("Result", { deal: id, root, done: lot.done }, lot.signatures[at], leg.key, "the result");
      signed += 1;
    }
    require(signed >= deal.quorum, "too few workers signed");
    require(lot.disputes.length === 0, "a disputed result is checked by prixfixe verify");
    const word = hashWords(["bytes32", id], ["bytes32", root], ["uint256", BigInt(lot.fact)]);
    require(await this.read("lot", receipt.job, deal.lot) === word, "the contract remembers another settlement");
    const price = BigInt(deal.price);
    const back = price * BigInt(deal.count - lot.done) + (unpaid < price ? unpaid : price) * BigInt(lot.done);
    return price * BigInt(deal.count) - back;
  }
}
