// The page is loaded anew, without its frame, whenever something happened to the job.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const shown = document.getElementById("job");
  if (!shown.dataset.events) return;
  const events = new EventSource(shown.dataset.events);
  document.dispatchEvent(new CustomEvent("job-events", { detail: events }));
  if (shown.dataset.over === "yes") {
    events.addEventListener("end", () => events.close()); // only the log was wanted
    return;
  }
  let drawn = shown.innerHTML;
  const renew = async () => {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    const part = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("job");
    if (!part) return;
    if (part.innerHTML !== drawn) { // a screen reader reads what is put in
      drawn = part.innerHTML;
      shown.replaceChildren(...part.childNodes);
      document.dispatchEvent(new Event("job-changed"));
    }
    if (part.dataset.over === "yes") events.close();
  };
  const soon = common.soon(renew);
  // Others' jobs end without an event of this one.
  setInterval(() => shown.querySelector("[data-ahead]") && soon(), 5000);
  for (const kind of ["state", "progress", "end"]) events.addEventListener(kind, () => soon());
});
