// A chosen receipt is sent as it is, so that a large one need not go through the text field.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("receipt");
  const file = document.getElementById("file");
  const shown = document.getElementById("checked");
  form.addEventListener("submit", async (event) => {
    if (!file.files.length) return;
    event.preventDefault();
    const answer = await fetch("/receipts", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/html" },
      body: file.files[0],
    });
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    const part = parsed.getElementById("checked") || parsed.querySelector("main");
    if (part) shown.replaceChildren(...part.childNodes);
  });
  file.addEventListener("change", () => file.files.length && form.requestSubmit());
});
