// What the scripts of several pages use. Loaded before them.
"use strict";
class Refused extends Error {} // the service's word, which the same call would get again
class Lost extends Error {} // no answer: the call may be made again, where it says so after `seconds`
const LONGEST_PAUSE = 60;
const common = {
  element(tag, given = {}, ...children) {
    const made = Object.assign(document.createElement(tag), given);
    made.append(...children);
    return made;
  },
  // units: millionths of a dollar, as text or as a whole number.
  dollars(units) {
    const digits = String(units).padStart(7, "0");
    return "$" + digits.slice(0, -6).replace(/\B(?=(?:\d{3})+$)/g, ",") + "." + digits.slice(-6).replace(/0{1,4}$/, "");
  },
  // A page's texts by their keys, with {name} filled in.
  speaker: (words) => (key, values = {}) =>
    words[key].replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all)),
  // act, once for all calls that come close together. seconds: for how long the first of them waits.
  soon(act) {
    let waiting = false;
    return (seconds = 0.2) => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        act();
      }, seconds * 1000);
    };
  },
  // Calls of the service. given: headers that say who asks; lost, busy: what is said when there is no answer, or
  // when it is asked too often; ended: hears of a 401. Throws Refused or Lost.
  caller: ({ given, lost, busy, credentials = "same-origin", ended = () => {} }) =>
    async (method, path, { json, body, signal, headers = {} } = {}) => {
      let answer;
      try {
        answer = await fetch(path, {
          method, credentials, signal, redirect: "error",
          headers: { ...given(), ...(json ? { "Content-Type": "application/json" } : {}), ...headers },
          body: json ? JSON.stringify(json) : body,
        });
      } catch {
        throw new Lost(lost);
      }
      if (answer.ok) return answer;
      if ([502, 503, 504].includes(answer.status)) throw new Lost(lost);
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      if (answer.status === 429 && seconds <= LONGEST_PAUSE) throw Object.assign(new Lost(busy), { seconds });
      const problem = await answer.json().catch(() => ({}));
      if (answer.status === 401) ended();
      const text = problem.detail || problem.title || `${answer.status}`;
      const refused = new Refused(problem.hint ? `${text}: ${problem.hint}` : text);
      throw Object.assign(refused, { code: problem.code });
    },
  // A file of the service's as it is, for who is asking on this page.
  get: (path, headers = {}) => fetch(path, { headers }),
  // SHA-256 of a file, computed beside the page. hasher: where its script is; tell: hears how much is read, up to 1.
  digest: (hasher, file, tell = () => {}) =>
    new Promise((done, failed) => {
      const worker = new Worker(hasher);
      worker.onerror = () => failed(new Error("digest"));
      worker.onmessage = ({ data }) => {
        if (data.digest || data.error) worker.terminate();
        if (data.error) failed(new Error(data.error));
        else if (data.digest) done(data.digest);
        else tell(file.size ? data.done / file.size : 1);
      };
      worker.postMessage(file);
    }),
};
