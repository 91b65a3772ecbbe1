/* Figures: drawn when they come into view, drawn again when the legend changes. */
const drawn = new Map(), waiting = new Set();
/* What draws is large: it is loaded when the table stands, and the figures wait for it. */
function loadPlotly() {
  const made = document.createElement("script"), source = document.getElementById("plotly-source");
  const ready = () => { waiting.forEach(draw); waiting.clear(); };
  made.onload = ready;
  made.onerror = () => document.querySelector("main").prepend("The figures need plotly.min.js beside this page: `gradbench report` writes it again.");
  if (source) made.textContent = source.textContent; else made.src = "plotly.min.js";
  document.head.append(made);
  if (source) ready();
}
const soon = () => setTimeout(loadPlotly);
if (document.visibilityState === "visible") requestAnimationFrame(soon); else soon();
let logarithmic = false; // whether axes of evaluations and seconds are
const along = () => logarithmic ? { type: "log", exponentformat: "power" } : {};
const layout = (x, y, more = {}) => ({
  margin: { l: 52, r: 12, t: 8, b: 44 }, height: 300, showlegend: false, hovermode: "closest",
  font: { size: 12, color: ink() }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: { title: { text: x }, gridcolor: grid(), zerolinecolor: grid(), ...more.xaxis }, yaxis: { title: { text: y }, gridcolor: grid(), zerolinecolor: grid(), ...more.yaxis },
  annotations: more.annotations || [], shapes: more.shapes || [],
});
const visible = spec => !hidden.has(spec);
function draw(box) {
  if (typeof Plotly === "undefined") { waiting.add(box); return; }
  const made = box.make();
  made.traces.forEach(trace => { trace.visible = trace.meta === undefined || visible(trace.meta); });
  Plotly.react(box, made.traces, made.layout, { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] });
  drawn.set(box, true);
}
const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
}, { rootMargin: "200px" });
function figure(box, make) { box.make = make; watcher.observe(box); return box; }
// On paper every figure is there, as wide as a page holds.
const PAPER = 660;
addEventListener("beforeprint", () => document.querySelectorAll(".figure").forEach(box => { if (!drawn.has(box)) draw(box); if (drawn.has(box)) Plotly.relayout(box, { width: PAPER, autosize: false }); }));
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
  return { traces, layout: layout(seconds ? "training seconds (evaluations x the trials' seconds per evaluation)" : "gradient evaluations", "score (0 chance, 1 solved)", { shapes, xaxis: along(), yaxis: { range: bounds(item) } }) };
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
  return { traces, layout: layout("gradient evaluations, seed 0 (open triangle: a bound)", plain(probe), { xaxis: along(), yaxis: log ? { type: "log", exponentformat: "power" } : {} }) };
}
function arrivals(family, unit) {
  const traces = [];
  for (const [spec, found] of Object.entries(family.arrivals)) {
    const points = found[unit];
    traces.push(line(spec, points.map(p => p[0]), points.map(p => p[1]), { line: { shape: "hv" }, rest: {
      hovertemplate: `%{fullData.name}<br>%{x:.3g} ${unit}: %{y:.0%} of ${found.n} trials on ${found.cases} cases<br>at the end 95 %, over the cases: ${percent(found.interval)}<extra></extra>` } }));
  }
  return { traces, layout: layout(unit === "seconds" ? "training seconds to target" : "gradient evaluations to target", "share of all trials", { xaxis: along(), yaxis: { range: [-0.02, 1.02], tickformat: ".0%" } }) };
}
