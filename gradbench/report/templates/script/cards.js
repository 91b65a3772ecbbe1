/* Families and their cases, approaches of one problem side by side. */
function numbers(item) {
  const table = node("table"), head = ["optimizer", "solved (95 %)", "median to target", "expected to target (95 %)", "ms/step (quartiles)", "MiB", "rate", "sweep: evaluations; best of 1, 2, ... points"];
  table.append(node("thead", {}, node("tr", {}, ...head.map(text => node("th", { scope: "col" }, text)))));
  for (const [spec, r] of Object.entries(item.results)) {
    const ms = v => v === null || v === undefined ? "-" : number(1000 * v);
    const ert = r.ert ? r.ert[1] === 0 && r.ert[2] === null ? number(r.ert[0]) : `${number(r.ert[0])} (${number(r.ert[1])} to ${r.ert[2] === null ? "∞" : number(r.ert[2])})` : "-";
    const solved = r.ran ? `${r.solved}/${r.seeds} (${percent(r.interval)})` : "unsupported";
    const cells = [solved, r.median, ert, r.step.median === null ? "-" : `${ms(r.step.median)} (${ms(r.step.q1)}-${ms(r.step.q3)})`, r.memory === null ? "-" : r.memory, r.rate === null || r.rate === undefined ? "-" : r.rate, r.cost !== null && r.cost !== undefined ? `${number(r.cost)}; ${r.best.map(value => number(value)).join(", ")}` : "-"];
    table.append(node("tr", { "data-optimizer": spec || null }, node("th", { scope: "row" }, styleOf(spec).name), ...cells.map(c => node("td", {}, String(c)))));
    if (r.unsolved && r.unsolved.length) table.append(node("tr", { "data-optimizer": spec || null }, node("td", { colspan: head.length, class: "small" }, `unsolved seeds: ${r.unsolved.join(", ")}`)));
    for (const text of r.remarks) table.append(node("tr", { "data-optimizer": spec || null }, node("td", { colspan: head.length, class: "small" }, text)));
  }
  return node("details", {}, node("summary", {}, "numbers"), node("div", { class: "scroll" }, table), again(item), taken(item));
}
/* The commands that run a case again, and its numbers as files. */
function again(item) {
  const specs = item.learner ? [""] : Object.keys(item.results);
  const lines = specs.map(spec => `pytest suites -k '${item.id}' --gb-preset=${data.preset}${spec ? ` '--optimizer=${spec}'` : ""}`);
  return node("div", {}, node("p", { class: "small" }, "run again:"), node("pre", {}, lines.join("\n")));
}
function taken(item) {
  const rows = Object.entries(item.results).map(([optimizer, r]) => ({ case: item.id, optimizer, solved: r.solved, seeds: r.seeds, median_evaluations: r.median, rate: r.rate, unsolved_seeds: (r.unsolved || []).join(" ") }));
  const quote = value => `"${String(value ?? "").replace(/"/g, '""')}"`;
  const csv = [Object.keys(rows[0]), ...rows.map(row => Object.values(row))].map(row => row.map(quote).join(",")).join("\n") + "\n";
  const link = (name, type, text) => node("a", { href: URL.createObjectURL(new Blob([text], { type })), download: `${item.id}.${name}` }, name.toUpperCase());
  return node("p", { class: "small" }, "download: ", link("csv", "text/csv", csv), " ", link("json", "application/json", JSON.stringify(item, null, 1)));
}
function card(item) {
  const results = Object.values(item.results), counts = [...new Set(results.map(r => r.seeds))].join(" or ");
  const made = node("article", { class: "card", id: item.id }, node("h3", {}, item.id));
  if (item.task) made.append(node("p", {}, item.task));
  const source = item.paper ? node("a", { href: item.paper, rel: "noreferrer" }, `section ${item.section}`) : (item.section === "beyond" ? "beyond the paper" : `section ${item.section || "none"}`);
  made.append(node("p", { class: "small" }, `${item.scenario}${item.approach ? ", " + item.approach : ""} (`, source, `): ${item.setting}; expected ${item.expectation}${item.why && item.why !== "open" && item.expectation !== "must" && !item.learner ? ` (where it is failed: ${item.why})` : ""}; batch ${item.batch}, budget ${item.budget}`));
  if (results.some(r => r.band || r.sweep.length || Object.keys(r.tracks).length)) {
    const box = node("div", { class: "figure" });
    const band = `Line: median, band: lowest to highest of n = ${counts} seeds; a trial that ended keeps its last score. Dotted: the target.`;
    const options = [{ label: "score", says: band, make: () => curves(item, false) }];
    if (results.some(r => r.each)) options.push({ label: "by seconds", says: band, make: () => curves(item, true) });
    if (results.some(r => r.sweep.length)) options.push({ label: "learning rate", says: `The sweep, on seeds that are not evaluated; the two best rates on two seeds more, n = ${Math.max(...results.flatMap(r => r.sweep.map(p => p.n)))} at most; no interval.`, make: () => rates(item) });
    const probes = [...new Set(results.flatMap(r => Object.keys(r.tracks)))];
    let probe = probes[0];
    if (probes.length) options.push({ label: "informativeness", says: () => `${probe}${data.probes[probe] ? ": " + data.probes[probe] : ""}. One training, of seed 0 (n = 1); bars: the reading's own 95 % interval, where it has one.`, make: () => tracks(item, probe) });
    made.append(box);
    const bar = tabbed(box, options);
    if (probes.length > 1) {
      const select = node("select", { "aria-label": "probe" }, ...probes.map(name => node("option", {}, name)));
      select.onchange = () => { probe = select.value; bar.querySelector("button:last-of-type").click(); };
      bar.append(select);
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
