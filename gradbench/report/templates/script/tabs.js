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
