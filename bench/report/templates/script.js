"use strict";
(() => {
  const form = document.getElementById("filters");
  const filters = [...form.querySelectorAll("select")];

  // Show an element if each filter that is set has the element's value, or the element has none.
  const filter = () => {
    const wanted = filters.filter((select) => select.value)
      .map((select) => [select.dataset.filter, select.value]);
    for (const element of document.querySelectorAll("[data-loss],[data-device],[data-run]")) {
      element.hidden = wanted.some(([name, value]) =>
        name in element.dataset && element.dataset[name] !== value);
    }
    for (const table of document.querySelectorAll("table.sortable")) {
      const rows = [...table.tBodies[0].rows];
      const left = rows.filter((row) => !row.hidden).length;
      table.querySelector("output").textContent =
        left === rows.length ? `(${left})` : `(${left} of ${rows.length})`;
    }
  };

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent.trim();
    const number = Number(text === "inf" ? Infinity : text);
    return text === "" ? null : Number.isNaN(number) ? text : number;
  };

  // Numbers come before text, and empty cells are last in both directions.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? Math.sign(a - b) || 0 : a.localeCompare(b));
  };

  const sort = (header) => {
    const table = header.closest("table");
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, header.cellIndex), row]);
    rows.sort(([a], [b]) => compare(a, b, ascending ? 1 : -1));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    table.caption.append(" ", document.createElement("output"));
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(header));
    }
  }
  // The bar wraps on narrow screens, so its height is measured.
  new ResizeObserver(([bar]) => {
    document.documentElement.style.setProperty("--bar", `${bar.target.offsetHeight}px`);
  }).observe(document.querySelector("nav"));
  form.addEventListener("change", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
})();
