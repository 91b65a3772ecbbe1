/* Search and sorting of the board's tables. */
const VALUES = {
  text: cell => cell.textContent.trim().toLowerCase(),
  share: cell => { const [part, whole] = cell.textContent.split("/").map(Number); return whole > 0 ? part / whole : -1; },
  number: cell => { const text = cell.textContent.trim(); return text.startsWith(">") || text === "-" ? Infinity : Number(text); },
};
function sortRows(table, column, kind, falling) {
  const value = VALUES[kind], body = table.tBodies[0];
  const compare = (a, b) => { const [x, y] = [value(a.cells[column]), value(b.cells[column])]; return x < y ? -1 : x > y ? 1 : 0; };
  const rows = [...body.rows].sort((a, b) => (falling ? compare(b, a) : compare(a, b)));
  body.append(...rows);
}
document.querySelectorAll("table.board").forEach(table => {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.dataset.kind) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.dataset.kind === "share" ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      table.querySelectorAll("th[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      sortRows(table, column, head.dataset.kind, order === "descending");
    });
  });
});
document.querySelectorAll("input[data-search]").forEach(input => {
  const table = document.getElementById(input.dataset.search), count = document.querySelector(`[data-count="${input.dataset.search}"]`);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let kept = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      kept += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${kept} of ${table.tBodies[0].rows.length}` : "";
  });
});
