// What the scripts of several pages use. Loaded before them.
"use strict";
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
};
