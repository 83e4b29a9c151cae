"use strict";
// Sorting and filtering of tables. Without scripts the page says the same.
(function () {
  function element(name, properties) {
    return Object.assign(document.createElement(name), properties);
  }

  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.sort === undefined ? cell.textContent.trim() : cell.dataset.sort;
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  }

  function compare(a, b) {
    if (typeof a === typeof b && typeof a === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sortBy(table, heading) {
    const falls = heading.getAttribute("aria-sort")
      ? heading.getAttribute("aria-sort") === "ascending"
      : heading.classList.contains("n");
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const rows = Array.from(table.tBodies[0].rows, (row) => [key(row, heading.cellIndex), row]);
    rows.sort((a, b) => (falls ? compare(b[0], a[0]) : compare(a[0], b[0])));
    table.tBodies[0].append(...rows.map((pair) => pair[1]));
  }

  function makeSortable(table) {
    for (const heading of table.tHead.rows[0].querySelectorAll("th")) {
      const button = element("button", { type: "button", textContent: heading.textContent });
      button.addEventListener("click", () => sortBy(table, heading));
      heading.replaceChildren(button);
    }
  }

  function chips(rows, changed) {
    const group = element("span", { className: "chips" });
    const verdicts = new Set(rows.map((row) => row.dataset.verdict).filter(Boolean));
    for (const verdict of verdicts.size > 1 ? verdicts : []) {
      const chip = element("button", { type: "button", textContent: verdict, ariaPressed: "false" });
      chip.addEventListener("click", () => {
        const pressed = chip.ariaPressed === "true";
        for (const other of group.children) other.ariaPressed = "false";
        chip.ariaPressed = String(!pressed);
        changed();
      });
      group.append(chip);
    }
    return group;
  }

  function makeFilter(table) {
    const rows = Array.from(table.tBodies[0].rows);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const told = element("span", { className: "note", role: "status" });
    const input = element("input", {
      type: "search",
      placeholder: "Filter " + table.dataset.filter,
      ariaLabel: "Filter " + table.dataset.filter,
    });
    function apply() {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = group.querySelector('[aria-pressed="true"]');
      let shown = 0;
      rows.forEach((row, index) => {
        const fits = words.every((word) => texts[index].includes(word));
        row.hidden = !fits || (chosen !== null && row.dataset.verdict !== chosen.textContent);
        shown += row.hidden ? 0 : 1;
      });
      told.textContent = shown === rows.length ? "" : shown + " of " + rows.length;
    }
    const group = chips(rows, apply);
    input.addEventListener("input", apply);
    const tools = element("div", { className: "tools" });
    tools.append(input, group, told);
    table.parentElement.before(tools);
  }

  document.querySelectorAll("table[data-filter]").forEach((table) => {
    if (table.tBodies[0].rows.length > 8) makeFilter(table);
  });
  document.querySelectorAll("table[data-sortable]").forEach(makeSortable);
})();
