const exchanged = readData("exchange-data");
const SQUARES = { same: ["✓", "the same", "good"], differs: ["≠", "read otherwise", "known"], fails: ["✗", "not read", "bad"], unavailable: ["·", "not to be had", "none"] };

function square(writer, reader, place) {
  const [outcome, model, reason] = exchanged.outcomes[place];
  const [symbol, words, kind] = SQUARES[outcome] ?? ["?", outcome, "none"];
  const text = `${reader} reads ${writer}: ${words}${reason ? `: ${reason}` : ""}${model ? ` (${model})` : ""}`;
  const cell = make("td", { tabindex: "-1", class: `square ${kind}`, "data-outcome": outcome, "aria-label": text }, symbol);
  cell.addEventListener("focus", () => { document.getElementById("exchange-detail").textContent = text; });
  cell.addEventListener("click", () => focusSquare(cell));
  return cell;
}

// One square at a time is in the order of the tab key; arrows move among them.
function focusSquare(cell) {
  for (const each of all(".square[tabindex='0']")) each.tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus();
}

function moveSquare(event) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const step = steps[event.key], cell = event.target.closest(".square");
  if (!step || !cell) return;
  event.preventDefault();
  const row = cell.parentElement, rows = [...row.parentElement.children];
  const next = rows[rows.indexOf(row) + step[0]]?.children[[...row.children].indexOf(cell) + step[1]];
  if (next?.classList.contains("square")) focusSquare(next);
}

function showExchange() {
  const wanted = document.getElementById("exchange-artifact").value;
  const [name, title, rows] = exchanged.artifacts.find((artifact) => artifact[0] === wanted);
  const head = make("tr", {}, make("td", {}, "writer"), ...exchanged.readers.map((reader) => make("th", { scope: "col", class: "reader" }, make("span", {}, reader))));
  const lines = rows.map((places, place) => make("tr", {}, make("th", { scope: "row" }, exchanged.writers[place]),
    ...places.map((outcome, reader) => square(exchanged.writers[place], exchanged.readers[reader], outcome))));
  const table = make("table", { role: "grid", class: "heat", "aria-label": `${name}: ${title}; writers down, readers across` },
    make("thead", {}, head), make("tbody", {}, ...lines));
  table.addEventListener("keydown", moveSquare);
  document.getElementById("exchange-scroll").replaceChildren(table);
  const cells = [...table.querySelectorAll(".square")];
  if (cells.length) cells[0].tabIndex = 0;
  const count = (outcome) => cells.filter((cell) => cell.dataset.outcome === outcome).length;
  document.getElementById("exchange-count").textContent = `${title}: of ${cells.length} readings ${Object.keys(SQUARES)
    .filter(count).map((outcome) => `${count(outcome)} ${SQUARES[outcome][1]}`).join(", ")}.`;
  document.getElementById("exchange-detail").textContent = "";
  const found = exchanged.findings.filter(([, , , , artifacts]) => artifacts.includes(name));
  document.getElementById("exchange-findings").replaceChildren(...found.map(([severity, text, action, known]) =>
    make("li", {}, `${severity}${known ? " (known)" : ""}: ${text}${action ? `; ${action}` : ""}`)));
}

if (exchanged) {
  document.getElementById("exchange-artifact").addEventListener("change", showExchange);
  showExchange();
}
