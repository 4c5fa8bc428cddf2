// node buy.mjs BUNDLE FILE UNITS PARAMETERS-AS-JSON FOLDER
// Buys a run, waits, downloads, verifies. The market and the key come from the environment:
// PRIXFIXE_SERVICE, PRIXFIXE_CHAIN_ID, PRIXFIXE_CONTRACT, PRIXFIXE_RPC, PRIXFIXE_PRIVATE_KEY_FILE.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { privateKeyToAccount } from "viem/accounts";
import { Market, sha256 } from "./prixfixe.mjs";

const [bundle, path, units, parameters, folder] = process.argv.slice(2);
const environment = (name) => process.env[`PRIXFIXE_${name}`] ?? (() => { throw new Error(`PRIXFIXE_${name} is not set`); })();
const account = privateKeyToAccount((await readFile(environment("PRIVATE_KEY_FILE"), "utf8")).trim());
const market = new Market({
  service: environment("SERVICE"), chainId: Number(environment("CHAIN_ID")), contract: environment("CONTRACT"),
  rpc: environment("RPC"), account,
});
await market.open();
await market.signIn();

const bytes = await readFile(path);
const input = { name: basename(path), sha256: sha256(bytes), size: bytes.length };
const quote = await market.quote({ bundle, parameters: JSON.parse(parameters), inputs: [input], units: Number(units) });
console.error(`price ${Number(quote.total) / 1e6} dollars, and nothing beside it`);
await market.upload(bytes);
const job = await market.wait((await market.buy(quote)).id);
if (job.state !== "settled") throw new Error(`the job is ${job.state}: ${job.reason?.message}`);

await mkdir(folder, { recursive: true });
const files = [];
for (const file of job.outputs) {
  files.push(await market.download(job, file));
  await writeFile(join(folder, basename(file.path)), files.at(-1));
}
const text = await market.receipt(job.id);
await writeFile(join(folder, "receipt.json"), text);
const { receipt, known } = await market.verify(text, files);

// A receipt in which one thing was changed must not pass.
const altered = JSON.stringify({ ...receipt, charged: "1" });
const passed = await market.verify(altered, files).then(() => true, () => false);
if (passed) throw new Error("an altered receipt passed");
console.log(JSON.stringify({ job: job.id, charged: receipt.charged, files: job.outputs.map((file) => file.path), known }));
