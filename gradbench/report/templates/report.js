"use strict";
if (typeof Plotly === "undefined") document.querySelector("main").prepend("The figures need plotly.min.js beside this page: `gradbench report` writes it again.");
const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5195", "#8c6d00", "#56b4e9", "#333333", "#a6001a", "#5f8700"];
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
const LEARNER = { name: "learner", colour: "#111111", dash: "dot" };
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

/* Figures: drawn when they come into view, drawn again when the legend changes. */
const drawn = new Map();
const layout = (x, y, more = {}) => ({
  margin: { l: 52, r: 12, t: 8, b: 44 }, height: 300, showlegend: false, hovermode: "closest",
  font: { size: 12 }, xaxis: { title: { text: x }, ...more.xaxis }, yaxis: { title: { text: y }, ...more.yaxis },
  annotations: more.annotations || [], shapes: more.shapes || [],
});
const visible = spec => !hidden.has(spec);
function draw(box) {
  const figure = box.make();
  figure.traces.forEach(trace => { trace.visible = visible(trace.meta); });
  Plotly.react(box, figure.traces, figure.layout, { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] });
  drawn.set(box, true);
}
const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
}, { rootMargin: "200px" });
function figure(box, make) { box.make = make; watcher.observe(box); return box; }
// On paper every figure is there, as wide as a page holds.
const PAPER = 660;
addEventListener("beforeprint", () => document.querySelectorAll(".figure").forEach(box => { if (!drawn.has(box)) draw(box); Plotly.relayout(box, { width: PAPER, autosize: false }); }));
addEventListener("afterprint", () => drawn.forEach((_, box) => Plotly.relayout(box, { width: null, autosize: true })));

function line(spec, x, y, more = {}) {
  const s = styleOf(spec);
  return { type: "scatter", mode: "lines", meta: spec, name: plain(s.name), x, y, line: { color: s.colour, dash: s.dash, width: 2, ...more.line }, ...more.rest };
}
function curves(item, seconds) {
  const traces = [];
  for (const [spec, result] of Object.entries(item.results)) {
    const band = result.band, scale = seconds ? result.each : 1;
    if (!band || scale === null) continue;
    const x = band.x.map(v => v * scale), s = styleOf(spec);
    traces.push({ type: "scatter", mode: "lines", meta: spec, hoverinfo: "skip", x: x.concat([...x].reverse()), y: band.high.concat([...band.low].reverse()), fill: "toself", fillcolor: s.colour + "22", line: { width: 0 } });
    traces.push(line(spec, x, band.mid));
  }
  const shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: item.target, y1: item.target, line: { color: "#777", width: 1, dash: "dot" } }];
  return { traces, layout: layout(seconds ? "training seconds (evaluations x the trials' seconds per evaluation)" : "gradient evaluations", "score (0 chance, 1 solved)", { shapes, yaxis: { range: bounds(item) } }) };
}
function bounds(item) {
  const low = Math.min(0, ...Object.values(item.results).flatMap(r => r.band ? r.band.low : []));
  return [Math.max(-1, low) - 0.05, 1.05];
}
const middle = values => { const v = [...values].sort((a, b) => a - b), n = v.length; return n % 2 ? v[(n - 1) / 2] : (v[n / 2 - 1] + v[n / 2]) / 2; };
function rates(item) {
  const traces = [];
  for (const [spec, result] of Object.entries(item.results)) {
    const points = result.sweep.filter(p => p.scores.length);
    if (!points.length) continue;
    traces.push(line(spec, points.map(p => p.lr), points.map(p => Math.max(-1, middle(p.scores))), { rest: {
      mode: "lines+markers", marker: { symbol: points.map(p => p.solved === p.n ? "circle" : "circle-open"), size: 8, color: styleOf(spec).colour },
      text: points.map(p => `${p.solved} of ${p.n} solved`), hovertemplate: "%{fullData.name}<br>rate %{x}: %{y:.3f} (%{text})<extra></extra>" } }));
  }
  return { traces, layout: layout("learning rate (filled: solved; what diverged has no score)", "final score, median", { xaxis: { type: "log", exponentformat: "power" } }) };
}
function tracks(item, probe) {
  const traces = [];
  for (const [spec, result] of Object.entries(item.results)) {
    const points = (result.tracks[probe] || []).filter(p => p.value !== null);
    if (!points.length) continue;
    const least = p => !p.resolved && p.bound === null && p.interval;
    const kept = points.map(p => p.resolved ? p.value : least(p) ? p.interval[0] : p.bound);
    traces.push(line(spec, points.map(p => p.evaluations), kept, { rest: {
      mode: "lines+markers", marker: { symbol: points.map(p => p.resolved ? "circle" : least(p) ? "triangle-up-open" : "triangle-down-open"), size: 8, color: styleOf(spec).colour },
      error_y: { type: "data", symmetric: false, thickness: 1, array: points.map((p, i) => p.resolved && p.interval ? p.interval[1] - kept[i] : 0), arrayminus: points.map((p, i) => p.resolved && p.interval ? kept[i] - p.interval[0] : 0) },
      text: points.map(p => p.resolved ? "" : least(p) ? " at least (not resolved)" : " at most (not resolved)"), hovertemplate: "%{fullData.name}<br>%{x} evaluations: %{y:.3g}%{text}<extra></extra>" } }));
  }
  const values = traces.flatMap(t => t.y);
  const log = values.length && values.every(v => v > 0) && !probe.startsWith("alignment");
  return { traces, layout: layout("gradient evaluations, seed 0 (open triangle: a bound)", plain(probe), { yaxis: log ? { type: "log", exponentformat: "power" } : {} }) };
}
function arrivals(family, unit) {
  const traces = [];
  for (const [spec, found] of Object.entries(family.arrivals)) {
    const points = found[unit];
    traces.push(line(spec, points.map(p => p[0]), points.map(p => p[1]), { line: { shape: "hv" }, rest: {
      hovertemplate: `%{fullData.name}<br>%{x:.3g} ${unit}: %{y:.0%} of ${found.n} trials on ${found.cases} cases<br>at the end 95 %, over the cases: ${percent(found.interval)}<extra></extra>` } }));
  }
  return { traces, layout: layout(unit === "seconds" ? "training seconds to target" : "gradient evaluations to target", "share of all trials", { yaxis: { range: [-0.02, 1.02], tickformat: ".0%" } }) };
}

/* A box of tabs over one figure. */
function tabbed(box, options) {
  const bar = node("div", { class: "tabs", role: "group", "aria-label": "what is drawn" });
  const caption = node("p", { class: "small" }, `${options[0].says} Preset: ${data.preset}.`);
  let chosen = options[0];
  box.after(caption);
  options.forEach((option, i) => {
    const button = node("button", { type: "button", "aria-pressed": String(i === 0), onclick: () => {
      chosen = option;
      caption.textContent = `${option.says} Preset: ${data.preset}.`;
      bar.querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", b === button));
      draw(box);
    } }, option.label);
    bar.append(button);
  });
  figure(box, () => chosen.make());
  return bar;
}

/* The legend: a click hides or shows, a double click (or Shift) shows one alone. */
const legend = document.getElementById("legend");
const buttons = data.optimizers.map(o => {
  const s = style[o.spec];
  const button = node("button", { type: "button", "aria-pressed": "true", "data-legend": o.spec, title: "click: hide or show; double click or Shift+click: this one alone" });
  button.innerHTML = `<svg width="26" height="8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" stroke="${s.colour}" stroke-width="3" stroke-dasharray="${s.stroke}"/></svg>`;
  button.append(s.name);
  button.onclick = event => { if (event.shiftKey) isolate(o.spec); else toggle(o.spec); };
  button.ondblclick = () => isolate(o.spec);
  legend.append(button);
  return button;
});
if (data.optimizers.length > 1) legend.append(node("button", { type: "button", id: "all", onclick: () => { hidden.clear(); refresh(); } }, "show all"));
function toggle(spec) { if (!hidden.delete(spec)) hidden.add(spec); refresh(); }
function isolate(spec) { hidden.clear(); data.optimizers.forEach(o => { if (o.spec !== spec) hidden.add(o.spec); }); refresh(); }
function refresh() {
  buttons.forEach(b => b.setAttribute("aria-pressed", visible(b.dataset.legend)));
  document.querySelectorAll("[data-optimizer]").forEach(cell => { cell.hidden = !visible(cell.dataset.optimizer); });
  for (const box of drawn.keys()) {
    const shown = box.data.map(trace => visible(trace.meta));
    Plotly.restyle(box, { visible: shown });
  }
}

/* The matrix of verdicts. */
const share = result => result && result.ran ? result.solved / result.seeds : -1;
function cell(item, spec) {
  const result = item.results[spec];
  if (!result) return node("td", { class: "cell none", "data-optimizer": spec, title: "not run" }, "");
  const bad = Object.entries(result.bad).map(([kind, n]) => `${n} ${kind}`).join(", ");
  const lines = [`${item.id}, ${styleOf(spec).name}: ${result.verdict}`, `solved ${result.solved} of ${result.seeds} seeds (95 %: ${percent(result.interval)})`,
    `median evaluations to target ${result.median}, budget ${item.budget}`, bad, ...result.remarks];
  if (!result.ran) lines.splice(1, 2);
  const text = lines.filter(Boolean).join("\n");
  const made = node("td", { class: "cell", "data-optimizer": spec, title: text, tabindex: "-1", "aria-label": text });
  if (!result.ran) { made.classList.add("none"); made.append("unsupported"); return made; }
  const part = share(result);
  made.style.background = `hsl(210 60% ${96 - 58 * part}%)`;
  made.style.color = part > 0.55 ? "#fff" : "#111";
  made.append(`${result.solved}/${result.seeds}`);
  const marks = { diverged: "div", crashed: "crash", unsupported: "unsup" };
  for (const [kind, n] of Object.entries(result.bad)) made.append(` ${n} ${marks[kind] || kind}`);
  if (result.news) { made.classList.add("news-cell"); made.append(" NEWS"); }
  return made;
}
const matrix = document.getElementById("matrix");
let order = data.cases.map((_, i) => i), sorted = null, falling = true;
function sortBy(key) {
  falling = sorted === key ? !falling : true;
  sorted = key;
  const value = i => key === "" ? -i : share(data.cases[i].results[key]);
  order.sort((a, b) => (falling ? value(b) - value(a) : value(a) - value(b)) || a - b);
  fill();
  matrix.querySelectorAll("thead button")[key === "" ? 0 : 1 + data.optimizers.findIndex(o => o.spec === key)].focus();
}
function fill() {
  matrix.replaceChildren();
  const head = node("tr");
  const column = (key, label, attributes = {}) => {
    const state = sorted === key ? (falling ? "descending" : "ascending") : "none";
    head.append(node("th", { scope: "col", "aria-sort": state, ...attributes }, node("button", { type: "button", onclick: () => sortBy(key) }, label + (sorted === key ? (falling ? " ▾" : " ▴") : ""))));
  };
  column("", "case");
  head.append(node("th", { scope: "col" }, "expected"));
  data.optimizers.forEach(o => column(o.spec, o.name, { "data-optimizer": o.spec }));
  matrix.append(node("thead", {}, head));
  const body = node("tbody");
  for (const i of order) {
    const item = data.cases[i];
    const row = node("tr", { "data-case": item.id }, node("th", { scope: "row", title: item.id }, data.brief ? item.id : node("a", { href: "#" + item.id }, item.id)), node("td", { title: item.why }, item.expectation + (item.expectation === "must" || item.learner || !item.why || item.why === "open" ? "" : ", " + item.why.split(":")[0])));
    if (item.learner) {
      const result = item.results[""];
      row.append(node("td", { class: "cell", colspan: data.optimizers.length || 1, title: "takes no optimizer" }, `${result.solved}/${result.seeds}, takes no optimizer`));
    } else data.optimizers.forEach(o => row.append(cell(item, o.spec)));
    body.append(row);
  }
  matrix.append(body);
  document.querySelectorAll("#matrix [data-optimizer]").forEach(c => { c.hidden = !visible(c.dataset.optimizer); });
  const first = matrix.querySelector("td[tabindex]");
  if (first) first.tabIndex = 0;
}
fill();
// One cell is a stop of the Tab key; arrows go on from there, and what it says stands below.
const told = document.getElementById("told");
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
matrix.addEventListener("keydown", event => {
  const move = MOVES[event.key], from = event.target.closest("td[tabindex]");
  if (!move || !from) return;
  event.preventDefault();
  let row = from.parentElement, next = null;
  if (move[0]) {
    while (!next && (row = move[0] > 0 ? row.nextElementSibling : row.previousElementSibling)) next = [...row.cells].find(c => c.tabIndex >= -1 && c.hasAttribute("tabindex") && c.dataset.optimizer === from.dataset.optimizer);
  } else {
    next = from;
    do next = move[1] > 0 ? next.nextElementSibling : next.previousElementSibling; while (next && (next.hidden || !next.hasAttribute("tabindex")));
  }
  if (!next) return;
  from.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
matrix.addEventListener("focusin", event => { const of = event.target.closest("td[tabindex]"); told.hidden = !of; told.textContent = of ? of.title : ""; });
matrix.addEventListener("focusout", () => { told.hidden = true; });

/* Families and their cases, approaches of one problem side by side. */
function numbers(item) {
  const table = node("table"), head = ["optimizer", "solved (95 %)", "median to target", "expected to target (95 %)", "ms/step (quartiles)", "MiB", "rate", "sweep: evaluations; best of 1, 2, ... points"];
  table.append(node("thead", {}, node("tr", {}, ...head.map(text => node("th", { scope: "col" }, text)))));
  for (const [spec, r] of Object.entries(item.results)) {
    const ms = v => v === null || v === undefined ? "-" : number(1000 * v);
    const ert = r.ert ? `${number(r.ert[0])} (${number(r.ert[1])} to ${r.ert[2] === null ? "∞" : number(r.ert[2])})` : "-";
    const solved = r.ran ? `${r.solved}/${r.seeds} (${percent(r.interval)})` : "unsupported";
    const cells = [solved, r.median, ert, r.step.median === null ? "-" : `${ms(r.step.median)} (${ms(r.step.q1)}-${ms(r.step.q3)})`, r.memory === null ? "-" : r.memory, r.rate === null || r.rate === undefined ? "-" : r.rate, r.cost !== null && r.cost !== undefined ? `${number(r.cost)}; ${r.best.map(value => number(value)).join(", ")}` : "-"];
    table.append(node("tr", { "data-optimizer": spec || null }, node("th", { scope: "row" }, styleOf(spec).name), ...cells.map(c => node("td", {}, String(c)))));
    for (const text of r.remarks) table.append(node("tr", { "data-optimizer": spec || null }, node("td", { colspan: head.length, class: "small" }, text)));
  }
  return node("details", {}, node("summary", {}, "numbers"), node("div", { class: "scroll" }, table));
}
function card(item) {
  const results = Object.values(item.results), counts = [...new Set(results.map(r => r.seeds))].join(" or ");
  const made = node("article", { class: "card", id: item.id }, node("h3", {}, item.id));
  made.append(node("p", { class: "small" }, `${item.scenario}${item.approach ? ", " + item.approach : ""} (section ${item.section}): ${item.setting}; expected ${item.expectation}${item.why && item.why !== "open" && item.expectation !== "must" && !item.learner ? ` (where it is failed: ${item.why})` : ""}; batch ${item.batch}, budget ${item.budget}`));
  if (results.some(r => r.band || r.sweep.length || Object.keys(r.tracks).length)) {
    const box = node("div", { class: "figure" });
    const band = `Line: median, band: lowest to highest of n = ${counts} seeds; a trial that ended keeps its last score. Dotted: the target.`;
    const options = [{ label: "score", says: band, make: () => curves(item, false) }];
    if (results.some(r => r.each)) options.push({ label: "by seconds", says: band, make: () => curves(item, true) });
    if (results.some(r => r.sweep.length)) options.push({ label: "learning rate", says: `The sweep, on seeds that are not evaluated; the two best rates on two seeds more, n = ${Math.max(...results.flatMap(r => r.sweep.map(p => p.n)))} at most; no interval.`, make: () => rates(item) });
    const probes = [...new Set(results.flatMap(r => Object.keys(r.tracks)))];
    let probe = probes[0];
    if (probes.length) options.push({ label: "informativeness", says: "One training, of seed 0 (n = 1); bars: the reading's own 95 % interval, where it has one.", make: () => tracks(item, probe) });
    made.append(box);
    const bar = tabbed(box, options);
    if (probes.length > 1) {
      const choice = node("select", { "aria-label": "probe" }, ...probes.map(name => node("option", {}, name)));
      choice.onchange = () => { probe = choice.value; bar.querySelector("button:last-of-type").click(); };
      bar.append(choice);
    }
    box.before(bar);
  }
  made.append(numbers(item));
  return made;
}
for (const family of data.families) {
  const box = document.querySelector(`[data-arrivals="${CSS.escape(family.name)}"]`);
  if (Object.keys(family.arrivals).length) {
    const count = Math.max(...Object.values(family.arrivals).map(a => a.n)), cases = Math.max(...Object.values(family.arrivals).map(a => a.cases));
    const least = Math.min(...Object.values(family.arrivals).map(a => a.least));
    const says = `All seeds of all the family's cases: n = ${count} trials on ${cases} cases per optimizer at most. A trial without the target counts as not arrived, so beyond the smallest budget (${least} evaluations) a share is a lower bound. Hovering tells the last share's 95 % interval, by resampling the cases.`;
    box.before(node("h3", {}, "Trials that have reached the target"), tabbed(box, ["evaluations", "seconds"].map(unit => ({ label: unit, says, make: () => arrivals(family, unit) }))));
  } else box.remove();
  const cards = document.querySelector(`[data-cards="${CSS.escape(family.name)}"]`);
  data.cases.filter(item => item.family === family.name).forEach(item => cards.append(card(item)));
}
