// A job of a wallet's, drawn by the service for its session, and its files, which are taken with the session too
// and compared with the digest that a worker signed.
"use strict";
const walletJob = ({ session, word, run, hasher }) => {
  const place = document.getElementById("ordered");
  const shown = document.getElementById("job");
  let job = null, watching = 0, drawn = "";

  async function show(id) {
    job = id;
    drawn = "";
    document.getElementById("job-name").textContent = `${id.slice(0, 10)}…`;
    await renew();
    place.hidden = false;
    document.getElementById("ordered-title").focus();
  }

  function hide() {
    job = null;
    clearTimeout(watching);
    place.hidden = true;
  }

  async function renew() {
    clearTimeout(watching);
    const wanted = job;
    const answer = await session.call("GET", `/wallet/jobs/${wanted}`);
    const part = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("job");
    if (job !== wanted || !part) return;
    if (part.innerHTML !== drawn) {
      drawn = part.innerHTML;
      shown.replaceChildren(...part.childNodes);
      document.dispatchEvent(new Event("job-changed"));
    }
    if (part.dataset.over !== "yes") watching = setTimeout(follow, 1500);
  }
  const follow = () => renew().catch(() => { if (job && session.open) watching = setTimeout(follow, 5000); });

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

  shown.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="/v1/"]');
    const cancel = event.target.closest("[data-cancel]");
    if (link) {
      event.preventDefault();
      const name = (link.dataset.path || link.download || link.pathname).split("/").pop();
      run(() => save(link.getAttribute("href"), name, link.dataset.sha256));
    }
    if (cancel) run(async () => { await session.call("POST", `/v1/jobs/${cancel.dataset.cancel}/cancel`); await renew(); });
  });
  return { show, hide, save, keep };
};
