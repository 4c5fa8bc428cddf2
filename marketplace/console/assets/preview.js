// A delivered table, as far as a look needs it: the first rows of a CSV file as a table and a chart, and what
// the control totals say. Read in the reader's own browser, and put in as text.
"use strict";
(() => {
  const BYTES = 65536, ROWS = 50, BARS = 40, SERIES = 4;
  const COLOURS = ["#0b57a4", "#b35900", "#1a6b3c", "#7a3e9d"];
  const NUMBER = /^[+-]?\d+(\.\d+)?$/;
  let shown = ""; // the address of what is drawn

  const records = (text, whole) => {
    const found = [];
    let record = [], cell = "", quoted = false;
    for (let at = 0; at < text.length && found.length <= ROWS; at++) {
      const letter = text[at];
      if (quoted) {
        if (letter !== '"') cell += letter;
        else if (text[at + 1] === '"') { cell += '"'; at++; }
        else quoted = false;
      } else if (letter === '"') quoted = true;
      else if (letter === "," || letter === "\n") {
        record.push(cell.replace(/\r$/, ""));
        cell = "";
        if (letter === "\n") { found.push(record); record = []; }
      } else cell += letter;
    }
    if (whole && found.length <= ROWS && (cell || record.length)) found.push([...record, cell]);
    return found;
  };
  const { element } = common;
  const region = (label, child) => {
    const made = element("div", { className: "wide", tabIndex: 0 }, child);
    made.setAttribute("role", "region");
    made.setAttribute("aria-label", label);
    return made;
  };
  const head = async (link) => {
    const answer = await common.get(link.href, { Range: `bytes=0-${BYTES - 1}` });
    if (!answer.ok) return null;
    const size = Number((answer.headers.get("Content-Range") || "").split("/")[1] || 0);
    const text = new TextDecoder().decode(await answer.arrayBuffer());
    return { text: text.replace(/^\uFEFF/, ""), whole: size <= BYTES };
  };

  const table = (names, rows, numeric) =>
    element(
      "table", {},
      element("thead", {}, element("tr", {}, ...names.map((name, at) => element("th", { scope: "col", textContent: name, className: numeric.has(at) ? "number" : "words" })))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...names.map((_, at) =>
        element("td", { textContent: row[at] || "", className: numeric.has(at) ? "number" : "words" }))))),
    );

  const chart = (place, names, rows, numeric, say) => {
    const series = [...numeric].slice(0, SERIES);
    const labels = names.map((_, at) => at).filter((at) => !numeric.has(at));
    const drawn = rows.filter((row) => !/^\((total|others)\)$/.test(row[0])).slice(0, BARS);
    if (!series.length || !labels.length || drawn.length < 2) return;
    const text = drawn.map((row) => labels.map((at) => row[at]).join(" · ")).map((each) => (each.length > 16 ? `${each.slice(0, 15)}…` : each));
    const data = [drawn.map((_, at) => at), ...series.map((at) => drawn.map((row) => (row[at] ? Number(row[at]) : null)))];
    const said = say("chart", { columns: series.map((at) => names[at]).join(", ") });
    const canvas = element("div", { className: "chart" });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", said);
    const legend = element("ul", { className: "legend" }, ...series.map((at, n) => element("li", { className: `series-${n}`, textContent: names[at] })));
    place.append(element("h3", { textContent: said }), legend, canvas);
    const short = new Intl.NumberFormat(document.documentElement.lang, { notation: "compact" });
    const width = () => Math.max(240, canvas.clientWidth);
    const axis = { stroke: "#59636e", grid: { stroke: "#e6eaee" } };
    const plot = new uPlot({
      width: width(), height: 260, legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false, range: () => [-0.6, drawn.length - 0.4] }, y: { range: (u, low, high) => [Math.min(0, low), Math.max(0, high) * 1.05 || 1] } },
      axes: [
        { ...axis, rotate: -40, size: 90, splits: () => data[0].filter((at) => at % Math.ceil(drawn.length / (width() / 34)) === 0), values: (u, ticks) => ticks.map((at) => text[at] ?? "") },
        { ...axis, size: 64, values: (u, ticks) => ticks.map((value) => short.format(value)) },
      ],
      series: [{}, ...series.map((at, n) => ({ label: names[at], stroke: COLOURS[n], fill: `${COLOURS[n]}${series.length > 1 ? "99" : "dd"}`, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 60] }) }))],
    }, data, canvas);
    window.addEventListener("resize", () => plot.setSize({ width: width(), height: 260 }));
  };

  const show = async () => {
    const place = document.getElementById("preview");
    const links = [...document.querySelectorAll("ul[data-files] a[download]")];
    const link = links.find((each) => each.dataset.path.endsWith(".csv") && !/(^|\/)rejected\.csv$/.test(each.dataset.path));
    const source = link ? link.href : "";
    if (!place || shown === source) return;
    shown = source;
    place.replaceChildren();
    place.hidden = true;
    if (!link) return;
    const say = common.speaker(JSON.parse(place.dataset.words));
    const control = links.find((each) => /(^|\/)control\.json$/.test(each.dataset.path));
    const [found, told] = await Promise.all([head(link), control ? head(control) : null]);
    if (!found) return;
    const [names, ...rows] = records(found.text, found.whole);
    if (!names || !rows.length) return;
    const numeric = new Set(names.map((_, at) => at).filter((at) => {
      const cells = rows.map((row) => row[at]).filter(Boolean);
      return cells.length && cells.every((cell) => NUMBER.test(cell) && !/^[+-]?0\d/.test(cell));
    }));
    place.append(element("h2", { textContent: say("title") }));
    try {
      const sentences = told && told.whole ? JSON.parse(told.text).sentences : null;
      if (Array.isArray(sentences)) place.append(element("ul", {}, ...sentences.slice(0, 20).map((each) => element("li", { textContent: String(each) }))));
    } catch { /* no control totals that a page can show */ }
    chart(place, names, rows, numeric, say);
    place.append(element("h3", { textContent: say("rows", { rows: rows.length, file: link.dataset.path }) }));
    place.append(region(say("title"), table(names, rows, numeric)));
    place.hidden = false;
  };
  document.addEventListener("DOMContentLoaded", show);
  document.addEventListener("job-changed", show);
})();
