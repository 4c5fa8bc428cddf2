// From a chosen file to an order: hashed here, sent in parts that go on after any interruption, looked at by
// the service's inspectors, confirmed, priced and paid. Whatever a file says is put in as text.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("run");
  if (!root) return;
  const { bundle, csrf, address, hasher } = root.dataset;
  const words = JSON.parse(root.dataset.words);
  const again = JSON.parse(root.dataset.again);
  const sources = JSON.parse(root.dataset.sources);
  const $ = (id) => document.getElementById(id);
  const PART = 8 * 1024 * 1024;
  const PAUSES = [1, 2, 4, 8, 15, 30];
  const AGGREGATES = ["sum", "average", "min", "max", "count", "distinct", "share"];
  const TYPES = ["text", "integer", "decimal", "date", "boolean"];
  let chosen = null; // { name, size, sha256 }
  let seen = null;
  let turn = 0; // of the file that is looked at: what an earlier one answers is dropped

  const { element, dollars } = common;
  const say = common.speaker(words);
  const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

  class Refused extends Error {}
  class Lost extends Error {}
  const call = async (method, path, { json, body, headers = {} } = {}, accept = []) => {
    let answer;
    try {
      answer = await fetch(path, {
        method,
        headers: { "X-CSRF-Token": csrf, ...(json ? { "Content-Type": "application/json" } : {}), ...headers },
        body: json ? JSON.stringify(json) : body,
      });
    } catch (error) {
      throw new Lost(words.lost);
    }
    if (answer.ok || accept.includes(answer.status)) return answer;
    if (answer.status === 502 || answer.status === 503 || answer.status === 504) throw new Lost(words.lost);
    const problem = await answer.json().catch(() => ({}));
    const text = problem.detail || problem.title || `${answer.status}`;
    throw new Refused(problem.hint ? `${text}: ${problem.hint}` : text);
  };
  // A call that may be repeated, while the line or the service is away.
  const patiently = async (work) => {
    for (let tries = 0; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Lost) || tries >= PAUSES.length) throw error;
        tell(error.message);
        await pause(PAUSES[tries]);
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
  // The step's work, with what goes wrong said where the person looks.
  const step = async (work) => {
    const mine = ++turn;
    fault("");
    for (const button of root.querySelectorAll("button")) button.disabled = true;
    try {
      await work(() => mine === turn);
    } catch (error) {
      if (mine === turn) {
        fault(error.message);
        tell("");
      }
    } finally {
      if (mine === turn) for (const button of root.querySelectorAll("button")) button.disabled = false;
    }
  };

  // ------------------------------------------------------------------------------------------ the file

  const digest = (file) =>
    new Promise((done, failed) => {
      const worker = new Worker(hasher);
      worker.onerror = () => failed(new Error(words.unreadable));
      worker.onmessage = ({ data }) => {
        if (data.digest || data.error) worker.terminate();
        if (data.error) failed(new Error(words.unreadable));
        else if (data.digest) done(data.digest);
        else tell(words.hashing, file.size ? data.done / file.size : 1);
      };
      worker.postMessage(file);
    });

  const upload = async (file, sha256) => {
    const path = `/v1/uploads/${sha256}`;
    const where = async () => {
      const state = await call("HEAD", path);
      return {
        offset: Number(state.headers.get("Upload-Offset")),
        complete: state.headers.get("Upload-Complete") === "?1",
      };
    };
    let { offset, complete } = await patiently(where);
    while (!complete) {
      tell(say("sending", { percent: Math.floor((100 * offset) / file.size) }), offset / file.size);
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
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        tell(error.message);
        await pause(PAUSES[0]);
        ({ offset, complete } = await patiently(where));
      }
    }
  };

  // As the client names a job's input: `_` for every letter that such a name has not.
  const plain = (name) => {
    const kept = name.replace(/[^A-Za-z0-9._-]/gu, "_");
    return (/^[A-Za-z0-9]/.test(kept) ? kept : `input${kept}`).slice(-128).replace(/^[._-]+/, "") || "input";
  };

  const choose = (file) =>
    step(async (current) => {
      $("columns").hidden = $("price").hidden = true;
      if (!file.size) throw new Error(words.empty);
      if (file.size > Number(root.dataset.most)) throw new Error(words.large);
      const sha256 = await digest(file);
      if (!current()) return;
      await upload(file, sha256);
      if (!current()) return;
      chosen = { name: plain(file.name), size: file.size, sha256 };
      const declared = Object.fromEntries(Object.entries(again).filter(([name]) => sources.includes(name)));
      await look(declared, current);
    });

  const inspected = async (request, current) => {
    const asked = await patiently(() => call("POST", "/v1/account/inspections", { json: request }));
    let found = await asked.json();
    while (current() && found.state !== "done" && found.state !== "failed") {
      tell(words[found.state === "waiting" ? "queued" : request.step]);
      const answer = await patiently(() => call("GET", `/v1/account/inspections/${found.id}?wait=25`));
      found = await answer.json();
    }
    if (found.state === "failed") {
      throw new Error(found.reason.hint ? `${found.reason.message}: ${found.reason.hint}` : found.reason.message);
    }
    return found;
  };

  const look = async (declared, current) => {
    const request = { bundle, step: "look", name: chosen.name, sha256: chosen.sha256, parameters: declared };
    const found = await inspected(request, current);
    if (!current()) return;
    seen = found.seen;
    show();
    tell(say("seen", { name: chosen.name, rows: seen.rows.toLocaleString(), columns: seen.columns.length.toLocaleString() }));
    $("columns").hidden = false;
    $("columns-title").focus();
  };

  // --------------------------------------------------------------------------------------- the columns

  const options = (select, values, texts, picked) => {
    select.replaceChildren(...values.map((value) => element("option", { value, textContent: texts(value) })));
    select.value = values.includes(picked) ? picked : values[0];
    return select;
  };
  // What an order before this one did with a column; null when it was of other columns.
  const before = () => {
    if (!again.rows) return null;
    const uses = new Map();
    for (const name of again.rows || []) uses.set(name, "rows");
    for (const name of again.columns || []) uses.set(name, "columns");
    for (const value of again.values || []) uses.set(value.column, value.aggregates[0]);
    const names = new Set(seen.columns.map((column) => column.name));
    return [...uses.keys()].every((name) => names.has(name)) ? uses : null;
  };
  const show = () => {
    const earlier = before();
    const rows = seen.columns.map((column, at) => {
      const cells = [...new Set(seen.first.map((row) => row[at]).filter((cell) => cell !== ""))];
      const type = options(
        element("select", { name: `type-${at}` }), TYPES, (kind) => words[`type_${kind}`],
        (earlier && again.types && again.types[column.name]) || column.type,
      );
      type.setAttribute("aria-label", say("type_of", { column: column.name }));
      const use = options(
        element("select", { name: `use-${at}` }), ["", "rows", "columns", ...AGGREGATES],
        (kind) => words[`use_${kind || "none"}`], earlier ? earlier.get(column.name) || "" : column.use,
      );
      use.setAttribute("aria-label", say("use_of", { column: column.name }));
      return element(
        "tr", {},
        element("th", { scope: "row", textContent: column.name }),
        element("td", { textContent: cells.slice(0, 3).join(" · "), className: "quiet" }),
        element("td", {}, type), element("td", {}, use),
      );
    });
    $("column-rows").replaceChildren(...rows);
    $("preview-head").replaceChildren(
      ...seen.columns.map((column) => element("th", { scope: "col", textContent: column.name })),
    );
    $("preview-rows").replaceChildren(
      ...seen.first.slice(0, 10).map((row) => element("tr", {}, ...row.map((cell) => element("td", { textContent: cell })))),
    );
    for (const field of root.querySelectorAll("[data-source]")) {
      const value = seen.source[field.dataset.source];
      if (value !== undefined) field.value = String(value);
    }
    $("guesses").replaceChildren(
      ...seen.guesses.map((guess) => element("li", { textContent: `${words[`source_${guess.parameter}`] || guess.parameter}: ${shown(guess.value)} (${guess.reason})` })),
    );
  };
  const shown = (value) => (value === "\t" ? "⇥" : value === " " ? "␣" : String(value));

  // What was declared of the file's writing, where it differs from the bundle's own default.
  const declared = () => {
    const found = {};
    for (const field of root.querySelectorAll("[data-source]")) {
      const number = field.type === "number";
      if (field.value !== field.dataset.default) found[field.dataset.source] = number ? Number(field.value) : field.value;
    }
    return found;
  };
  const parameters = () => {
    const found = { ...declared(), rows: [], columns: [], values: [], types: {} };
    seen.columns.forEach((column, at) => {
      const use = root.querySelector(`[name="use-${at}"]`).value;
      const type = root.querySelector(`[name="type-${at}"]`).value;
      if (!use) return;
      if (use === "rows" || use === "columns") found[use].push(column.name);
      else found.values.push({ column: column.name, aggregates: [use] });
      const usual = use === "rows" || use === "columns" || use === "count" || use === "distinct" ? "text" : "decimal";
      if (type !== usual) found.types[column.name] = type;
    });
    if (!found.rows.length) throw new Error(words.no_rows);
    if (!found.values.length) throw new Error(words.no_values);
    for (const field of root.querySelectorAll("[data-parameter]")) {
      const name = field.dataset.parameter;
      if (field.dataset.shape === "choices") {
        if (field.checked) (found[name] ||= []).push(field.value);
      } else if (field.value !== field.dataset.default) {
        if (field.dataset.shape === "lines") {
          const lines = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
          if (lines.length) found[name] = lines;
        } else found[name] = field.dataset.shape === "number" ? Number(field.value) : field.value;
      }
    }
    return found;
  };

  // ----------------------------------------------------------------------------------------- the price

  const price = () =>
    step(async (current) => {
      $("price").hidden = true;
      const wanted = parameters();
      const request = { bundle, step: "make", name: chosen.name, sha256: chosen.sha256, parameters: wanted };
      const { made, version } = await inspected(request, current);
      if (!current()) return;
      const replicas = $("replicas") ? { replicas: Number($("replicas").value) } : {};
      const asked = { customer: address, bundle, version, parameters: wanted, inputs: [made.file], units: made.units, ...replicas };
      const quote = await (await patiently(() => call("POST", "/v1/quotes", { json: asked }))).json();
      if (!current()) return;
      const cost = dollars(quote.total);
      $("total").textContent = cost;
      $("priced").textContent = say("priced", { units: made.units.toLocaleString(), unit: quote.unit, tier: quote.tier });
      $("pay").textContent = say("pay", { price: cost });
      $("pay").dataset.quote = quote.id;
      $("pay").dataset.most = quote.total;
      tell("");
      $("price").hidden = false;
      $("pay").disabled = false;
      $("pay").focus();
    });
  const pay = () =>
    step(async () => {
      const { quote, most } = $("pay").dataset;
      tell(words.ordering);
      // The quote is bought once, however often this is sent.
      const ordered = await patiently(() =>
        call("POST", "/v1/account/orders", { json: { quote, most }, headers: { "Idempotency-Key": quote } }),
      );
      location.assign(`/account/jobs/${(await ordered.json()).job.id}`);
    });

  // ------------------------------------------------------------------------------------------ the page

  const field = $("file");
  field.addEventListener("change", () => field.files.length && choose(field.files[0]));
  const drop = $("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind !== "drop" || !event.dataTransfer.files.length) return;
      field.files = event.dataTransfer.files;
      choose(field.files[0]);
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
      choose(field.files[0]);
    }),
  );
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    price();
  });
  $("form").addEventListener("change", (event) => {
    $("price").hidden = true;
    if (event.target.dataset.source) step((current) => look(declared(), current));
  });
  $("pay").addEventListener("click", pay);
  field.disabled = false;
  if (sample) sample.disabled = false;
  for (const each of root.querySelectorAll("[data-parameter]")) {
    const value = again[each.dataset.parameter];
    if (value === undefined) continue;
    if (each.dataset.shape === "choices") each.checked = value.includes(each.value);
    else each.value = Array.isArray(value) ? value.join("\n") : String(value);
  }
});
