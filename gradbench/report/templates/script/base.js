"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5195", "#8c6d00", "#56b4e9", "#7f7f7f", "#a6001a", "#5f8700"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const STROKES = ["", "6 3", "2 2", "6 2 2 2"];
const hidden = new Set();
const style = {};
data.optimizers.forEach((o, i) => {
  style[o.spec] = {
    name: o.name, colour: COLOURS[i % COLOURS.length],
    dash: DASHES[Math.floor(i / COLOURS.length) % DASHES.length],
    stroke: STROKES[Math.floor(i / COLOURS.length) % STROKES.length],
  };
});
const LEARNER = { name: "learner", colour: "#7f7f7f", dash: "dot" };
const styleOf = spec => style[spec] || LEARNER;
// Plotly reads a subset of HTML in names
const plain = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const node = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "onclick" || name === "ondblclick") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};
const number = (value, digits = 3) => value === null || value === undefined ? "-" : Number(value.toPrecision(digits)).toLocaleString("en");
const percent = interval => interval.map(v => Math.round(100 * v)).join("-") + " %";
const dark = matchMedia("(prefers-color-scheme: dark)");
const grid = () => getComputedStyle(document.documentElement).getPropertyValue("--line");
const ink = () => getComputedStyle(document.body).color;
