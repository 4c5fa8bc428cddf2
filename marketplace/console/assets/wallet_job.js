// A job of a wallet's, drawn by the service for its session, and its files, which are taken with the session too
// and compared with the digest that a worker signed.
"use strict";
const walletJob = ({ session, word, run, hasher }) => {
  const place = document.getElementById("ordered");
  const shown = document.getElementById("job");
  let job = null, drawn = "", stream = new AbortController();

  async function show(id) {
    hide();
    job = id;
    drawn = "";
    document.getElementById("job-name").textContent = `${id.slice(0, 10)}…`;
    const answer = await draw();
    for (const part of ["log", "further"]) document.getElementById(part).replaceWith(answer.getElementById(part));
    place.hidden = false;
    document.getElementById("ordered-title").focus();
    const { events } = answer.getElementById("job").dataset;
    if (events) follow(id, events);
  }

  function hide() {
    job = null;
    stream.abort();
    stream = new AbortController();
    place.hidden = true;
  }

  async function draw() {
    const wanted = job;
    const text = await (await session.call("GET", `/wallet/jobs/${wanted}`)).text();
    const answer = new DOMParser().parseFromString(text, "text/html");
    const part = answer.getElementById("job");
    if (job === wanted && part.innerHTML !== drawn) {
      drawn = part.innerHTML;
      shown.replaceChildren(...part.childNodes);
      document.dispatchEvent(new Event("job-changed"));
    }
    return answer;
  }
  const soon = common.soon(() => {
    if (job && session.open) draw().catch(() => soon(5));
  });

  // Others' jobs end without an event of this one.
  setInterval(() => shown.querySelector("[data-ahead]") && soon(), 5000);

  /** The job's events (SSE), as an EventSource has them, which cannot send the session's token. */
  async function follow(id, path) {
    const { signal } = stream;
    const events = new EventTarget();
    let last = 0, over = false;
    document.dispatchEvent(new CustomEvent("job-events", { detail: events }));
    for (const kind of ["state", "progress", "end"]) events.addEventListener(kind, () => soon());
    events.addEventListener("end", () => { over = true; });
    while (!over && !signal.aborted && session.open) {
      try {
        const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": String(last) } : {}) };
        const answer = await session.call("GET", path, { headers, signal });
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (let piece; !(piece = await reader.read()).done; ) {
          text += piece.value;
          for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
            const found = /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/m.exec(text.slice(0, end));
            if (!found) continue; // a comment
            last = Number(found[1]);
            events.dispatchEvent(new MessageEvent(found[2], { data: found[3] }));
          }
        }
      } catch {
        // Gone on with where it stopped.
      }
      if (!over && !signal.aborted) await new Promise((done) => setTimeout(done, 1000));
    }
  }

  /** digest: of what its worker signed; without one it is the service's word. */
  async function save(path, name, digest) {
    const blob = await (await session.call("GET", path)).blob();
    if (digest && (await common.digest(hasher, blob)) !== digest) throw new Error(word("altered", { name }));
    keep(blob, name);
  }

  function keep(blob, name) {
    const link = common.element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  place.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="/v1/"]');
    const cancel = event.target.closest("[data-cancel]");
    if (link) {
      event.preventDefault();
      const name = (link.dataset.path || link.download || link.pathname.replace(/\/log$/, "/log.txt")).split("/").pop();
      run(() => save(link.getAttribute("href"), name, link.dataset.sha256));
    }
    if (cancel) run(async () => { await session.call("POST", `/v1/jobs/${cancel.dataset.cancel}/cancel`); await draw(); });
  });
  // Links to its files, made and taken back.
  place.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target, body = new URLSearchParams(new FormData(form));
    run(async () => {
      const text = await (await session.call("POST", form.getAttribute("action"), { body })).text();
      const part = new DOMParser().parseFromString(text, "text/html").getElementById("further");
      if (!form.isConnected) return;
      document.getElementById("further").replaceWith(part);
      (document.getElementById("link") || part.querySelector("summary")).focus();
    });
  });
  return { show, hide, save, keep };
};
