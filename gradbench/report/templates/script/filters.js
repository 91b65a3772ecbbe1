/* The controls of the filters. */
function apply() {
  fill();
  document.querySelectorAll(".card").forEach(shown => { shown.hidden = !wanted(data.cases.find(item => item.id === shown.id)); });
  const shown = data.cases.filter(wanted).length;
  document.getElementById("shown").textContent = shown < data.cases.length ? `${shown} of ${data.cases.length} cases` : "";
  remember();
}
const filters = document.getElementById("filters");
function choice(name, label, values) {
  const made = node("select", { "aria-label": label }, node("option", { value: "" }, label), ...values.map(value => node("option", { value }, value)));
  made.onchange = () => { asked[name] = made.value; apply(); };
  filters.append(made);
  return made;
}
const search = node("input", { type: "search", placeholder: "case, scenario or setting", "aria-label": "search cases" });
search.oninput = () => { asked.text = search.value; apply(); };
filters.append(search);
const choices = {
  family: choice("family", "every family", [...new Set(data.cases.map(item => item.family))]),
  expectation: choice("expectation", "every expectation", [...new Set(data.cases.map(item => item.expectation))]),
  status: choice("status", "every result", DIFFERENCES),
};
const differs = node("input", { type: "checkbox", id: "differs" });
differs.onchange = () => { asked.differs = differs.checked; apply(); };
if (data.optimizers.length > 1) filters.append(node("label", { for: "differs" }, differs, " differs between optimizers"));
const failed = () => [...matrix.querySelectorAll("td.failed-cell")].filter(part => !part.hidden);
let lastFailed = null;
function showNextFailed() {
  const cells = failed();
  if (!cells.length) return;
  lastFailed = cells[(cells.indexOf(lastFailed) + 1) % cells.length];
  lastFailed.scrollIntoView({ block: "center" });
  lastFailed.focus();
}
if (failed().length) filters.append(node("button", { type: "button", id: "next-failed", onclick: showNextFailed }, "next failed"));
filters.append(node("span", { id: "shown", role: "status" }));

/* The view is kept in the address, so that it can be sent. */
function remember() {
  if (!ready) return;
  const kept = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) if (value) kept.set(name, value);
  for (const spec of hidden) kept.append("hide", spec);
  const text = kept.toString();
  if (text || location.hash.startsWith("#?")) location.replace(`#?${text}`);
}
function recall() {
  const kept = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
  for (const name of ["text", "family", "expectation", "status"]) asked[name] = kept.get(name) || "";
  asked.differs = kept.get("differs") === "true";
  search.value = asked.text;
  differs.checked = asked.differs;
  for (const [name, made] of Object.entries(choices)) made.value = asked[name];
  kept.getAll("hide").filter(spec => style[spec]).forEach(spec => hidden.add(spec));
}
let ready = false;
recall();
if (location.hash.startsWith("#?")) { apply(); refresh(); }
ready = true;
