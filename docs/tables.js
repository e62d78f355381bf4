// In a table, code without a space is a name.
for (const code of document.querySelectorAll("article td code"))
  if (!/\s/.test(code.textContent)) code.dataset.name = "";

// A table that is wider than its page shows each row as a list: its cells one below the other, after their columns' names.
const fit = () => {
  for (const table of document.querySelectorAll("article table:not([class])")) {
    table.removeAttribute("data-stacked");
    const page = (table.closest(".md-typeset__scrollwrap") ?? table).parentElement;
    if (table.scrollWidth <= page.clientWidth) continue;
    const columns = [...table.querySelectorAll("th")].map((cell) => cell.textContent);
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.cells].forEach((cell, i) => columns[i] && i > 0 && (cell.dataset.column = columns[i]));
    table.toggleAttribute("data-stacked", true);
  }
};
addEventListener("load", fit);
addEventListener("resize", fit);
