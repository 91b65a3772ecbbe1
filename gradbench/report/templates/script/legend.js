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
legend.append(node("button", { type: "button", id: "log", "aria-pressed": "false", title: "axes of evaluations and seconds", onclick: event => { logarithmic = !logarithmic; event.currentTarget.setAttribute("aria-pressed", logarithmic); redraw(); } }, "log axes"));
const redraw = () => { for (const box of drawn.keys()) draw(box); };
dark.addEventListener("change", redraw);
function toggle(spec) { if (!hidden.delete(spec)) hidden.add(spec); refresh(); }
function isolate(spec) { hidden.clear(); data.optimizers.forEach(o => { if (o.spec !== spec) hidden.add(o.spec); }); refresh(); }
function refresh() {
  buttons.forEach(b => b.setAttribute("aria-pressed", visible(b.dataset.legend)));
  document.querySelectorAll("[data-optimizer]").forEach(part => { part.hidden = !visible(part.dataset.optimizer); });
  for (const box of drawn.keys()) {
    const shown = box.data.map(trace => trace.meta === undefined || visible(trace.meta));
    Plotly.restyle(box, { visible: shown });
  }
  remember();
}
