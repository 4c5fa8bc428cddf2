// A job's log as it is written: the newest lines of one task's attempt at a time. Whatever an application wrote
// is put in as text, and no more of it is held than is shown. Not read out by itself: it may be anything.
"use strict";
document.addEventListener("job-events", ({ detail: events }) => {
  const LINES = 300, WIDTH = 1000, RAW = 4096, SOURCES = 50;
  const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z^_])/g;
  const CONTROLS = /[\x00-\x08\x0a-\x1f]/g;
  // Some of these turn the direction of what follows, and so what a line seems to say.
  const HIDDEN = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

  const part = document.getElementById("log");
  const words = JSON.parse(part.dataset.words);
  const say = common.speaker(words);
  const choice = part.querySelector("select"), button = part.querySelector("button");
  const whole = part.querySelector("a"), note = part.querySelector("span"), text = part.querySelector("pre");
  const sources = new Map(); // by task and attempt: {name, task, lines, rest, cut, dropped}
  let shown = null, chosen = false, following = true, missed = 0;

  // A line as a terminal would leave it, with what cannot be seen made visible.
  const cleaned = (raw, cut) => {
    const seen = raw.replace(ESCAPES, "").replace(/\r+$/, "");
    const line = seen.slice(seen.lastIndexOf("\r") + 1)
      .replace(CONTROLS, (sign) => "^" + String.fromCharCode(64 + sign.charCodeAt(0)))
      .replace(HIDDEN, "\ufffd");
    const more = Math.max(line.length - WIDTH, 0) + cut;
    return more ? line.slice(0, WIDTH).replace(/[\ud800-\udbff]$/, "") + say("cut", { number: more }) : line;
  };

  // The unfinished line grows: what a carriage return has overwritten is gone, what is too long is counted.
  const grow = (source, piece) => {
    const line = source.rest + piece;
    const from = line.lastIndexOf("\r", line.length - 2) + 1;
    if (from) source.cut = 0;
    source.cut += Math.max(line.length - from - RAW, 0);
    source.rest = line.slice(from, from + RAW);
  };

  const draw = () => {
    if (!following) {
      note.textContent = say("waiting", { number: missed });
      return;
    }
    const source = sources.get(shown);
    const lines = source.rest ? [...source.lines, cleaned(source.rest, source.cut)] : source.lines;
    text.textContent = lines.join("\n");
    note.textContent = source.dropped ? say("newest", { number: LINES }) : "";
    text.scrollTop = text.scrollHeight;
  };
  const soon = common.soon(draw);

  const follow = (is) => {
    following = is;
    missed = 0;
    button.textContent = say(is ? "pause" : "follow");
    draw();
  };
  const show = (key) => {
    shown = choice.value = key;
    whole.href = part.dataset.log + (sources.get(key).task ? `?task=${sources.get(key).task}` : "");
  };

  const known = (data) => {
    const task = Number(data.task), key = `${task}/${data.attempt}`;
    if (!sources.has(key)) {
      const name = say("task", { task, worker: data.worker, attempt: String(data.attempt).slice(0, 8) });
      sources.set(key, { task, lines: [], rest: "", cut: 0, dropped: data.offset > 0 });
      choice.append(common.element("option", { value: key, textContent: name }));
      if (sources.size > SOURCES) {
        const oldest = [...sources.keys()].find((each) => each !== shown);
        sources.delete(oldest);
        [...choice.options].find((each) => each.value === oldest).remove();
      }
      // Another attempt at the same task goes on with it.
      if (shown === null || (!chosen && sources.get(shown).task === task)) show(key);
    }
    return key;
  };

  events.addEventListener("log", (event) => {
    const data = JSON.parse(event.data), key = known(data), source = sources.get(key);
    const pieces = data.text.split("\n");
    pieces.forEach((piece, at) => {
      grow(source, piece);
      if (at === pieces.length - 1) return;
      source.lines.push(cleaned(source.rest, source.cut));
      source.rest = "";
      source.cut = 0;
    });
    if (source.lines.length > LINES) {
      source.lines.splice(0, source.lines.length - LINES);
      source.dropped = true;
    }
    if (key === shown) missed += pieces.length - 1;
    part.hidden = false;
    soon();
  });
  choice.addEventListener("change", () => { chosen = true; show(choice.value); follow(true); });
  button.addEventListener("click", () => follow(!following));
  text.addEventListener("scroll", () => {
    if (following && text.scrollTop + text.clientHeight < text.scrollHeight - 8) follow(false);
  });
});
