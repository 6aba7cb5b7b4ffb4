"use strict";
(function () {
  const body = document.querySelector("tbody");
  const rows = Array.from(body.rows);
  const words = document.querySelector("#words");
  const show = document.querySelector("#show");
  const shown = document.querySelector("#shown");
  const heads = Array.from(document.querySelectorAll("th"));

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const kind = !show.value || row.dataset.kind === show.value;
      row.hidden = !kind || !wanted.every((word) => row.dataset.words.includes(word));
      if (!row.hidden) count += 1;
    }
    shown.textContent = count + " of " + rows.length + " shown";
  }

  // numbers before text, and what has no value last in both directions
  function compare(one, other, sign) {
    if (one === "" || other === "") return (one === "") - (other === "");
    const numbers = [Number(one), Number(other)];
    if (numbers.every(Number.isFinite)) return sign * (numbers[0] - numbers[1]);
    return sign * one.localeCompare(other, undefined, { numeric: true });
  }

  function sort(head) {
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = (row) => row.querySelector('[data-column="' + head.dataset.column + '"]').dataset.value;
    const sorted = rows.map((row) => [value(row), row]);
    sorted.sort((one, other) => compare(one[0], other[0], falling ? -1 : 1));
    body.append(...sorted.map((pair) => pair[1]));
  }

  for (const head of heads) {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => sort(head));
  }
  words.addEventListener("input", filter);
  show.addEventListener("change", filter);
  document.querySelector(".filters").hidden = false;
  filter();
})();
