// From chosen files to an order: hashed here, sent in parts that go on after any interruption, looked at by
// the service's inspectors, confirmed (columns.js), priced and paid. Whatever a file says is put in as text.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("run");
  if (!root) return;
  const { bundle, csrf, hasher } = root.dataset;
  const words = JSON.parse(root.dataset.words);
  const defaults = JSON.parse(root.dataset.defaults);
  const looked = root.dataset.kind !== "none"; // else a file is taken as it is, and counts as one
  const $ = (id) => document.getElementById(id);
  const PART = 8 * 1024 * 1024;
  const SHOWN = 5; // names of files
  const PAUSES = [1, 2, 4, 8, 15, 30];
  let chosen = []; // of { name, size, sha256 }
  let priced = null; // { asked, wanted, request, quote, made }: all of one press of the button
  let turn = 0; // of the files that are looked at: what earlier ones answer is dropped
  let held = false; // while money moves: nothing else begins, as what came of it would not be told

  const { dollars } = common;
  const say = common.speaker(words);
  const columns = common.columns(root, words);
  const rest = ({ seconds = 0 }, tries) => new Promise((done) => setTimeout(done, Math.max(seconds, PAUSES[tries]) * 1000));

  // A call that may be repeated, while the line or the service is away.
  const patiently = async (work) => {
    for (let tries = 0; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Lost) || tries >= PAUSES.length) throw error;
        tell(error.message);
        await rest(error, tries);
      }
    }
  };

  const tell = (text, share = null) => {
    $("doing").textContent = text;
    $("bar").hidden = share === null;
    if (share !== null) $("bar").value = Math.round(share * 100);
  };
  const fault = (text) => {
    $("fault").textContent = text;
    $("fault").hidden = !text;
  };
  // What is set does not change beneath a step. Another file ends it, unless money moves.
  const busy = (now) => {
    for (const button of root.querySelectorAll("button")) button.disabled = now;
    $("form").inert = now;
    field.disabled = held;
  };
  // The step's work, with what goes wrong said where the person looks.
  const step = async (work, hold = false) => {
    if (held) return;
    const mine = ++turn;
    held = hold;
    fault("");
    busy(true);
    try {
      await work(() => mine === turn);
    } catch (error) {
      if (mine === turn) {
        fault(payer.fault(error));
        tell("");
      }
    } finally {
      if (mine === turn) stop();
    }
  };
  // Whatever is done is dropped, where somebody goes.
  const stop = () => {
    turn++;
    held = false;
    busy(false);
  };

  // --------------------------------------------------------------------------------------- who pays

  // A managed account, for which the service signs, or a wallet.
  const account = {
    call: common.caller({ given: () => ({ "X-CSRF-Token": csrf }), lost: words.lost, busy: words.busy }),
    fault: (error) => error.message,
    address: () => root.dataset.address,
    // Read now: money may have come since the page was opened. Without it there is a price all the same.
    async priced() {
      const found = await call("GET", "/v1/account").catch(() => null);
      const spendable = found && dollars((await found.json()).spendable);
      $("spendable").textContent = found ? say("spendable", { spendable }) : "";
    },
    async pay({ quote: { id, total } }) {
      tell(words.ordering);
      // The quote is bought once, however often this is sent.
      const asked = { json: { quote: id, most: total }, headers: { "Idempotency-Key": id } };
      const ordered = await patiently(() => call("POST", "/v1/account/orders", asked));
      location.assign(`/account/jobs/${(await ordered.json()).job.id}`);
    },
  };
  const payer = "address" in root.dataset
    ? account
    : walletPayer({
      hasher, words, step, stop, patiently, tell, tellFault: fault, remember: columns.remember,
      quoted: (current) => quoted(current),
    });
  const { call } = payer;

  // ------------------------------------------------------------------------------------------ the file

  const digest = async (file, name) => {
    try {
      return await common.digest(hasher, file, (share) => tell(say("hashing", { name }), share));
    } catch {
      throw new Error(words.unreadable);
    }
  };

  const upload = async (file, name, sha256) => {
    const path = `/v1/uploads/${sha256}`;
    const where = async () => {
      const state = await call("HEAD", path);
      return {
        offset: Number(state.headers.get("Upload-Offset")),
        complete: state.headers.get("Upload-Complete") === "?1",
      };
    };
    let { offset, complete } = await patiently(where);
    let stuck = 0; // parts of which nothing arrived, one after another
    while (!complete) {
      tell(say("sending", { name, percent: Math.floor((100 * offset) / file.size) }), offset / file.size);
      const end = Math.min(offset + PART, file.size);
      const headers = {
        "Upload-Offset": String(offset),
        "Upload-Complete": end === file.size ? "?1" : "?0",
        "Upload-Length": String(file.size),
        "Content-Type": "application/partial-upload",
      };
      try {
        await call("PATCH", path, { body: file.slice(offset, end), headers });
        offset = end;
        complete = end === file.size;
        stuck = 0;
      } catch (error) {
        // A browser sends a part again by itself when its line breaks: what the service has of it already is
        // then refused.
        const ahead = error.code === "mismatching-upload-offset";
        if ((!(error instanceof Lost) && !ahead) || stuck >= PAUSES.length) throw error;
        tell(ahead ? words.lost : error.message);
        await rest(error, stuck);
        const before = offset;
        ({ offset, complete } = await patiently(where));
        stuck = offset > before ? 0 : stuck + 1;
      }
    }
  };

  // As the client names a job's input: `_` for every letter that such a name has not.
  const plain = (name) => {
    const kept = name.replace(/[^A-Za-z0-9._-]/gu, "_");
    return (/^[A-Za-z0-9]/.test(kept) ? kept : `input${kept}`).slice(-128).replace(/^[._-]+/, "") || "input";
  };

  // Two files of one job have two names.
  const distinct = (names) => {
    const taken = new Set();
    return names.map((name) => {
      let free = name;
      for (let number = 2; taken.has(free); number++) free = `${number}-${name.slice(-120)}`;
      taken.add(free);
      return free;
    });
  };

  const choose = (files) =>
    step(async (current) => {
      $("columns").hidden = $("price").hidden = true;
      const { files: count, most, total } = root.dataset;
      if (files.length > Number(count)) throw new Error(say("many", { files: count }));
      if (files.some((file) => !file.size)) throw new Error(words.empty);
      const sizes = files.map((file) => file.size);
      if (Math.max(...sizes) > Number(most) || sizes.reduce((sum, size) => sum + size) > Number(total)) {
        throw new Error(words.large);
      }
      const names = distinct(files.map((file) => plain(file.name)));
      const found = [];
      for (const [at, file] of files.entries()) {
        const name = names[at];
        const sha256 = await digest(file, name);
        if (!current()) return;
        await upload(file, name, sha256);
        if (!current()) return;
        found.push({ name, size: file.size, sha256 });
      }
      chosen = found;
      await look(columns.earlier(), current);
    });

  const inspected = async (stage, file, parameters, current) => {
    const request = { bundle, step: stage, name: file.name, sha256: file.sha256, parameters };
    const asked = await patiently(() => call("POST", "/v1/account/inspections", { json: request }));
    let found = await asked.json();
    while (current() && found.state !== "done" && found.state !== "failed") {
      tell(say(found.state === "waiting" ? "queued" : stage, { name: file.name }));
      const answer = await patiently(() => call("GET", `/v1/account/inspections/${found.id}?wait=25`));
      found = await answer.json();
    }
    if (found.state === "failed") {
      throw new Error(found.reason.hint ? `${found.reason.message}: ${found.reason.hint}` : found.reason.message);
    }
    return found;
  };

  const named = () => chosen.slice(0, SHOWN).map((file) => file.name).join(", ") + (chosen.length > SHOWN ? ", …" : "");
  const confirm = () => {
    $("columns").hidden = $("form").inert = false;
    $("columns-title").focus();
  };
  // All files are read by what was declared and what was guessed of any of them, and have the same columns.
  const look = async (declared, current) => {
    if (!looked) {
      tell(named());
      confirm();
      return;
    }
    let source = declared;
    let first = null;
    let rows = 0;
    const guesses = new Map();
    for (let known = null; known !== JSON.stringify(source); ) {
      first = null;
      rows = 0;
      for (const file of chosen) {
        const { seen } = await inspected("look", file, source, current);
        if (!current()) return;
        source = seen.source;
        if (!first) known = JSON.stringify(source);
        first ||= seen;
        const names = (table) => JSON.stringify(table.columns.map((column) => column.name));
        if (names(seen) !== names(first)) throw new Error(say("differ", { name: file.name, first: chosen[0].name }));
        rows += seen.rows;
        for (const guess of seen.guesses) guesses.set(guess.parameter, guess);
      }
    }
    columns.show({ ...first, source, guesses: [...guesses.values()] });
    tell(say("seen", { name: named(), rows: rows.toLocaleString(), columns: first.columns.length.toLocaleString() }));
    confirm();
  };

  // ----------------------------------------------------------------------------------------- the price

  // What the page says now, of which a price is asked.
  const asked = () => JSON.stringify([columns.parameters(), $("replicas")?.value, chosen]);
  const unchanged = () => {
    try {
      return asked() === priced.asked;
    } catch {
      return false;
    }
  };
  const price = () =>
    step(async (current) => {
      $("price").hidden = true;
      const wanted = columns.parameters();
      const said = asked();
      const replicas = Number($("replicas")?.value || root.dataset.replicas);
      const parameters = { ...defaults, ...wanted }; // all of them, so that they are compared with the order's
      let { version } = root.dataset;
      const inputs = looked ? [] : chosen;
      let units = inputs.length;
      for (const file of looked ? chosen : []) {
        const found = await inspected("make", file, wanted, current);
        if (!current()) return;
        inputs.push(found.made.file);
        units += found.made.units;
        version = found.version;
      }
      const request = { customer: payer.address(), bundle, version, parameters, inputs, units, replicas };
      priced = { asked: said, wanted, request };
      await quoted(current);
    });
  const quoted = async (current) => {
    const { request } = priced;
    const quote = await (await patiently(() => call("POST", "/v1/quotes", { json: request }))).json();
    if (!current()) return;
    const made = await payer.priced(request, quote, current);
    if (!current()) return;
    tell("");
    if (!unchanged()) return;
    priced = { ...priced, quote, made };
    const cost = dollars(quote.total);
    $("total").textContent = cost;
    $("priced").textContent = say("priced", { units: request.units.toLocaleString(), unit: quote.unit, tier: quote.tier });
    $("pay").textContent = say("pay", { price: cost });
    $("price").hidden = false;
    $("pay").disabled = false;
    $("pay").focus();
  };
  const pay = () =>
    step(async (current) => {
      await payer.pay(priced, current);
      columns.remember(priced.wanted); // for other files, on a page that stays
    }, true);

  // ------------------------------------------------------------------------------------------ the page

  const field = $("file");
  field.addEventListener("change", () => field.files.length && choose([...field.files]));
  const drop = $("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind !== "drop" || field.disabled || !event.dataTransfer.files.length) return;
      field.files = event.dataTransfer.files;
      choose([...field.files]);
    });
  }
  // The sample is chosen as if it lay on this disk: the field names it.
  const sample = $("sample");
  sample?.addEventListener("click", () =>
    step(async () => {
      const content = await (await patiently(() => call("GET", sample.dataset.at))).blob();
      const data = new DataTransfer();
      data.items.add(new File([content], sample.dataset.name));
      field.files = data.files;
      choose([...field.files]);
    }),
  );
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    price();
  });
  $("form").addEventListener("change", (event) => {
    $("price").hidden = true;
    if (event.target.dataset.source) step((current) => look(columns.declared(), current));
  });
  $("pay").addEventListener("click", () => (unchanged() ? pay() : price()));
  field.disabled = false;
  if (sample) sample.disabled = false;
});
