/* The optimizers' profiles over mechanisms, and laws beside what was measured. */
function profile() {
  const traces = [], names = data.profile.families;
  for (const [spec, cells] of Object.entries(data.profile.results)) {
    const known = cells.map((found, i) => [found, names[i]]).filter(([found]) => found);
    traces.push(line(spec, known.map(([c]) => c.solved.length / (c.solved.length + c.unsolved.length)), known.map(([, name]) => name), { rest: {
      mode: "lines+markers", marker: { size: 9, color: styleOf(spec).colour },
      text: known.map(([c]) => `${c.solved.length} of ${c.solved.length + c.unsolved.length}` + (c.unsolved.length ? `<br>not ${c.unsolved.map(plain).join(", ")}` : "")), hovertemplate: "%{fullData.name}<br>%{y}: %{text}<extra></extra>" } }));
  }
  const made = layout("share of its cases that are solved", "", { xaxis: { range: [-0.03, 1.03], tickformat: ".0%" }, yaxis: { autorange: "reversed", automargin: true } });
  return { traces, layout: { ...made, height: 60 + 28 * names.length } };
}
function law(found) {
  const traces = [], known = found.rungs.map((rung, i) => ({ ...rung, i })).filter(rung => rung.at > 0);
  for (const [spec, values] of Object.entries(found.measured)) {
    const points = known.map(rung => [rung.at, Number(values[rung.i])]).filter(([, y]) => y > 0);
    if (!points.length) continue;
    const fit = found.fitted[spec], fitted = fit ? `, power ${number(fit[0])} (${fit[1] === null ? "-∞" : number(fit[1])} to ${fit[2] === null ? "∞" : number(fit[2])})` : "";
    traces.push(line(spec, points.map(p => p[0]), points.map(p => p[1]), { rest: {
      mode: "lines+markers", marker: { size: 8, color: styleOf(spec).colour }, hovertemplate: `%{fullData.name}<br>${plain(found.axis)} = %{x}: %{y} evaluations${fitted}<extra></extra>` } }));
  }
  const by = known.filter(rung => rung.predicted > 0);
  if (by.length) traces.push({ type: "scatter", mode: "lines+markers", name: "law", x: by.map(r => r.at), y: by.map(r => r.predicted), line: { color: ink(), width: 1.5, dash: "dot" }, marker: { symbol: "x", size: 8, color: ink() }, hovertemplate: `law<br>${plain(found.axis)} = %{x}: %{y}<extra></extra>` });
  else if (found.exponent !== null && traces.length && known.length > 1) {
    const from = traces[0], ends = [known[0].at, known[known.length - 1].at];
    traces.push({ type: "scatter", mode: "lines", name: "law", x: ends, y: ends.map(at => from.y[0] * (at / from.x[0]) ** found.exponent), line: { color: ink(), width: 1.5, dash: "dot" }, hovertemplate: `law: power ${found.exponent} from the first point<extra></extra>` });
  }
  return { traces, layout: layout(found.axis, "evaluations to target", { xaxis: { type: "log", exponentformat: "power" }, yaxis: { type: "log", exponentformat: "power" } }) };
}
const profiles = document.getElementById("profile");
if (profiles) figure(profiles, profile);
document.querySelectorAll("[data-law]").forEach(box => figure(box, () => law(data.laws[Number(box.dataset.law)])));
