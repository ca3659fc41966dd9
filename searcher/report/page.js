"use strict";
// The charts, from the specifications that the page holds; nothing is fetched.
const charts = JSON.parse(document.getElementById("charts").textContent);
const offline = {load: () => Promise.reject(new Error("the report fetches nothing")), sanitize: () => Promise.reject(new Error("no links"))};
const drawn = Object.entries(charts).map(([key, specification]) =>
  drawChart(document.getElementById(`chart-${key}`), specification, {renderer: "svg", actions: false, loader: offline, tooltip: {theme: "light"}})
    .catch((error) => {
      document.getElementById(`chart-${key}`).textContent = `The chart could not be drawn: ${error.message}`;
      throw error;
    }));
Promise.all(drawn).then(() => document.documentElement.setAttribute("data-drawn", drawn.length));

// Tables that a reader may sort: a button in each heading, its state in aria-sort.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const falling = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const isNumber = heading.classList.contains("number");
      const key = (row) => {
        const cell = row.cells[column];
        const value = cell.dataset.key ?? cell.textContent;
        return isNumber ? Number(value.replaceAll(",", "").replace("inf", "Infinity")) : value;
      };
      const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => (isNumber ? a - b : a.localeCompare(b)) * (falling ? -1 : 1));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

// In print nothing can be opened, so what is closed is opened for it.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    if (details.querySelectorAll("tbody tr").length > 40) continue;
    details.open = true;
    details.dataset.printed = "";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-printed]")) {
    details.open = false;
    delete details.dataset.printed;
  }
});
