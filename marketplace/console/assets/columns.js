// The columns of a chosen file as a table to confirm, and the parameters of a job that are set beneath it.
// Whatever a file says is put in as text.
"use strict";
// root: the page's part with its settings in data. Gives what is asked of it while a file is confirmed.
common.columns = (root, words) => {
  let again; // the parameters of an order before this one
  const typed = root.dataset.kind === "table"; // each column has a type and uses
  const USES = JSON.parse(root.dataset.aggregates);
  const MOST_USES = Number(root.dataset.uses);
  const TYPES = ["text", "integer", "decimal", "date", "boolean"];
  const AS_TEXT = ["rows", "columns", "count", "distinct"];
  const $ = (id) => document.getElementById(id);
  const { element } = common;
  const say = common.speaker(words);
  const sources = [...root.querySelectorAll("[data-source]")];
  const declarable = new Set(sources.map((field) => field.dataset.source));
  const read = (field) => (field.dataset.shape === "number" ? Number(field.value) : field.value);
  let seen = { columns: [], first: [], source: {}, guesses: [] };

  const shown = (value) => (value === "\t" ? "⇥" : value === " " ? "␣" : String(value));
  const options = (select, values, texts, picked) => {
    select.replaceChildren(...values.map((value) => element("option", { value, textContent: texts(value) })));
    select.value = values.includes(picked) ? picked : values[0];
    return select;
  };

  // What an order before this one did with the columns; null when it was of others.
  const before = () => {
    if (!typed || !again.rows) return null;
    const uses = new Map();
    const used = (name, use) => uses.set(name, [...(uses.get(name) || []), use]);
    for (const name of again.rows) used(name, "rows");
    for (const name of again.columns || []) used(name, "columns");
    for (const value of again.values || []) for (const use of value.aggregates) used(value.column, use);
    const names = new Set(seen.columns.map((column) => column.name));
    return [...uses.keys()].every((name) => names.has(name)) ? uses : null;
  };

  // A column's uses: the first may be any, each further one adds something up.
  const usesOf = (column, at, picked) => {
    const place = element("div", { className: "uses" });
    const more = element("button", { type: "button", className: "plain more", textContent: "+" });
    more.setAttribute("aria-label", say("use_more", { column: column.name }));
    const taken = () => [...place.querySelectorAll("select")].map((select) => select.value);
    const room = () => {
      const values = taken().filter((use) => USES.includes(use)).length;
      more.hidden = !taken()[0] || values >= MOST_USES || values >= USES.length;
    };
    const add = (use) => {
      const first = !place.querySelector("select");
      const free = USES.filter((each) => first || !taken().includes(each));
      const select = options(
        element("select", { name: `use-${at}` }), ["", ...(first ? ["rows", "columns"] : []), ...free],
        (kind) => words[`use_${kind || "none"}`] || kind, use,
      );
      select.setAttribute("aria-label", say(first ? "use_of" : "use_other", { column: column.name }));
      select.addEventListener("change", () => {
        if (!first && !select.value) {
          select.remove();
          more.focus();
        }
        room();
      });
      place.insertBefore(select, more);
      room();
      return select;
    };
    place.append(more);
    add(picked[0] || "");
    for (const use of picked.slice(1)) add(use);
    more.addEventListener("click", () => {
      add(USES.find((use) => !taken().includes(use))).focus();
      place.dispatchEvent(new Event("change", { bubbles: true }));
    });
    return place;
  };

  const show = (found) => {
    seen = found;
    const earlier = before();
    const rows = seen.columns.map((column, at) => {
      const cells = [...new Set(seen.first.map((row) => row[at]).filter((cell) => cell !== ""))];
      const row = element(
        "tr", {},
        element("th", { scope: "row", textContent: column.name }),
        element("td", { textContent: cells.slice(0, 3).join(" · "), className: "quiet" }),
      );
      if (!typed) return row;
      const type = options(
        element("select", { name: `type-${at}` }), TYPES, (kind) => words[`type_${kind}`],
        earlier && again.types && Object.hasOwn(again.types, column.name) ? again.types[column.name] : column.type,
      );
      type.setAttribute("aria-label", say("type_of", { column: column.name }));
      const picked = earlier ? earlier.get(column.name) || [] : [column.use];
      row.append(element("td", {}, type), element("td", {}, usesOf(column, at, picked)));
      return row;
    });
    $("column-rows").replaceChildren(...rows);
    $("preview-head").replaceChildren(
      ...seen.columns.map((column) => element("th", { scope: "col", textContent: column.name })),
    );
    $("preview-rows").replaceChildren(
      ...seen.first.slice(0, 10).map((row) => element("tr", {}, ...row.map((cell) => element("td", { textContent: cell })))),
    );
    for (const field of sources) {
      const value = seen.source[field.dataset.source];
      if (value !== undefined) field.value = String(value);
    }
    $("guesses").replaceChildren(
      ...seen.guesses.filter((guess) => declarable.has(guess.parameter)).map((guess) =>
        element("li", { textContent: `${words[`source_${guess.parameter}`] || guess.parameter}: ${shown(guess.value)} (${guess.reason})` })),
    );
    const names = seen.columns.map((column) => column.name);
    for (const field of root.querySelectorAll("[data-shape=column]")) {
      const picked = field.value || again[field.dataset.parameter];
      options(field, ["", ...names], (name) => name || "–", picked);
    }
  };

  // What was declared of the file's writing, where it differs from the bundle's own default.
  const declared = () => {
    const found = {};
    for (const field of sources) {
      if (field.value !== field.dataset.default) found[field.dataset.source] = read(field);
    }
    return found;
  };
  const pivoted = () => {
    // A column may have any name, also one that an object has of its own.
    const found = { rows: [], columns: [], values: [], types: Object.create(null) };
    seen.columns.forEach((column, at) => {
      const uses = [...root.querySelectorAll(`[name="use-${at}"]`)].map((select) => select.value).filter(Boolean);
      if (!uses.length) return;
      for (const use of uses) if (use === "rows" || use === "columns") found[use].push(column.name);
      const aggregates = [...new Set(uses.filter((use) => USES.includes(use)))];
      if (aggregates.length) found.values.push({ column: column.name, aggregates });
      const type = root.querySelector(`[name="type-${at}"]`).value;
      if (uses.some((use) => type !== (AS_TEXT.includes(use) ? "text" : "decimal"))) found.types[column.name] = type;
    });
    if (!found.rows.length) throw new Error(words.no_rows);
    if (!found.values.length) throw new Error(words.no_values);
    return found;
  };
  const parameters = () => {
    const found = { ...declared(), ...(typed ? pivoted() : {}) };
    for (const field of root.querySelectorAll("[data-parameter]")) {
      const name = field.dataset.parameter;
      if (field.dataset.shape === "choices") {
        if (field.checked) (found[name] ||= []).push(field.value);
      } else if (field.value !== field.dataset.default) {
        if (field.dataset.shape === "lines") {
          const lines = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
          if (lines.length) found[name] = lines;
        } else found[name] = read(field);
      }
    }
    return found;
  };

  const remember = (parameters) => {
    again = parameters;
    for (const each of root.querySelectorAll("[data-parameter]")) {
      const value = again[each.dataset.parameter];
      if (value === undefined) continue;
      if (each.dataset.shape === "choices") each.checked = value.includes(each.value);
      else each.value = Array.isArray(value) ? value.join("\n") : String(value);
    }
  };
  remember(JSON.parse(root.dataset.again));
  return {
    show,
    declared,
    parameters,
    remember,
    // How an order before this one had its file read.
    earlier: () => Object.fromEntries(Object.entries(again).filter(([name]) => declarable.has(name))),
  };
};
