"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const language = document.documentElement.lang;
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const value = (row) => row.cells[column].dataset.v;
    const isNumber = [...body.rows].some((row) => value(row) !== undefined);
    const compare = (one, other) => {
      if (!isNumber) {
        const [a, b] = [one, other].map((row) => row.cells[column].textContent);
        return (up ? 1 : -1) * a.localeCompare(b, language);
      }
      const [a, b] = [one, other].map((row) => value(row));
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return (up ? 1 : -1) * (Number(a) - Number(b));
    };
    heads.forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...[...body.rows].sort(compare));
  }));
}
