/* A box of tabs over one figure. A caption that depends on a choice is a function. */
function said(option) {
  const text = typeof option.says === "function" ? option.says() : option.says;
  return `${text} Preset: ${data.preset}.`;
}
function tabbed(box, options) {
  const bar = node("div", { class: "tabs", role: "group", "aria-label": "what is drawn" });
  const caption = node("p", { class: "small" }, said(options[0]));
  let chosen = options[0];
  box.after(caption);
  options.forEach((option, i) => {
    const button = node("button", { type: "button", "aria-pressed": String(i === 0), onclick: () => {
      chosen = option;
      caption.textContent = said(option);
      bar.querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", b === button));
      draw(box);
    } }, option.label);
    bar.append(button);
  });
  figure(box, () => chosen.make());
  return bar;
}
