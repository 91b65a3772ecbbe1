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
  if (result.solved) made.append(node("span", { class: "evaluations" }, ` in ${result.median}`));
  const marks = { diverged: "div", crashed: "crash", unsupported: "unsup" };
  for (const [kind, n] of Object.entries(result.bad)) made.append(` ${n} ${marks[kind] || kind}`);
  if (result.failed) { made.classList.add("failed-cell"); made.append(" FAILED"); }
  if (result.news) { made.classList.add("news-cell"); made.append(" NEWS"); }
  if (result.claim) made.append(" claim, not verified");
  if (result.implausible) { made.classList.add("doubt-cell"); made.append(" implausible"); }
  return made;
}
const matrix = document.getElementById("matrix");
const families = [...new Set(data.cases.map(item => item.family))];
const order = data.cases.map((_, i) => i).sort((a, b) => families.indexOf(data.cases[a].family) - families.indexOf(data.cases[b].family) || a - b);
const place = new Map(order.map((i, at) => [i, at]));
let sorted = null, falling = true;
function sortBy(key) {
  falling = sorted === key ? !falling : true;
  sorted = key;
  const value = i => key === "" ? -place.get(i) : share(data.cases[i].results[key]);
  order.sort((a, b) => (falling ? value(b) - value(a) : value(a) - value(b)) || place.get(a) - place.get(b));
  fill();
  matrix.querySelectorAll("thead button")[key === "" ? 0 : 1 + data.optimizers.findIndex(o => o.spec === key)].focus();
}
/* Families are folded by a click on their row; other filters stand above the table. */
const folded = new Set();
function heading(family) {
  const count = data.cases.filter(item => item.family === family && wanted(item)).length, open = !folded.has(family);
  const turn = () => { if (!folded.delete(family)) folded.add(family); fill(); [...matrix.querySelectorAll(".group button")].find(b => b.dataset.family === family).focus(); };
  return node("tr", { class: "group" }, node("th", { scope: "rowgroup", colspan: 2 + data.optimizers.length }, node("button", { type: "button", "aria-expanded": String(open), "data-family": family, onclick: turn }, `${open ? "▾" : "▸"} ${family}, ${count} case${count === 1 ? "" : "s"}`)));
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
  const body = node("tbody"), grouped = sorted === null;
  let family = null;
  for (const i of order) {
    const item = data.cases[i];
    if (!wanted(item)) continue;
    if (grouped && item.family !== family) {
      family = item.family;
      body.append(heading(family));
    }
    if (grouped && folded.has(family)) continue;
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
