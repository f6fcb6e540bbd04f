const compared = readData("compare-data");
const KINDS = {
  stages: "Stages that end otherwise",
  packages: "Packages that differ",
  numbers: "Numbers that differ",
  defaults: "Defaults that differ",
  calls: "Calls that the pipeline spells otherwise",
};

// Of a kind the rows [name, before, after]; with `sides` 1 those that one of the two cells has no value of.
function differences(kind, from, to, sides) {
  return compared.kinds[kind]
    .filter(([, , places]) => places[from] !== places[to] && (places[from] < 0 || places[to] < 0) === (sides === 1))
    .map(([name, values, places]) => [name, values[places[from]] ?? "(none)", values[places[to]] ?? "(none)"]);
}

// Classes inherit their defaults: a field that changed in the same way in several of them is one row.
function grouped(rows) {
  const groups = new Map();
  for (const [name, before, after] of rows) {
    const owner = name.slice(0, name.indexOf(".")), field = name.slice(name.indexOf(".") + 1);
    const key = JSON.stringify([field, before, after]);
    groups.set(key, [...(groups.get(key) ?? []), owner]);
  }
  return [...groups].map(([key, owners]) => {
    const [field, before, after] = JSON.parse(key);
    return [`${field} (${owners.join(", ")})`, before, after];
  });
}

function differenceTable(title, rows, open) {
  const line = ([name, before, after]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, before), make("td", {}, after));
  const head = make("tr", {}, ...["", "from", "to"].map((text) => text ? make("th", { scope: "col" }, text) : make("td", {})));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows.map(line)));
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table);
  return make("details", open ? { open: "" } : {}, make("summary", {}, `${title}: ${rows.length}`), scroll);
}

// The releases of the page that lie between two versions of their package, in either direction.
function releasesBetween(from, to) {
  const rows = new Map(differences("packages", from, to, 2).map(([name, ...pair]) => [name, pair.map(parseVersion)]));
  return all(".timeline > li").filter((item) => {
    const pair = rows.get(item.dataset.package);
    if (!pair || pair.includes(null)) return false;
    const [low, high] = compareVersions(...pair) < 0 ? pair : pair.toReversed();
    const own = parseVersion(item.dataset.release);
    return compareVersions(low, own) < 0 && compareVersions(own, high) <= 0;
  });
}

function findingsBetween(names, from, to) {
  const judged = all(".a-step").find((step) => step.dataset.before === names[0] && step.dataset.after === names[1]);
  if (judged) {
    const copy = judged.querySelector(".findings").cloneNode(true);
    for (const item of copy.children) item.hidden = false;
    const answer = judged.querySelector("summary .quiet").textContent;
    return make("details", { open: "", class: "judged" }, make("summary", {}, `judged: ${answer}`), copy);
  }
  const releases = releasesBetween(from, to);
  const found = releases.flatMap((release) => [...release.querySelectorAll(".findings li")].map((item) => {
    const copy = item.cloneNode(true);
    copy.append(make("span", { class: "quiet" }, ` · ${release.dataset.package} ${release.dataset.release}`));
    return copy;
  }));
  const [edits, others] = [true, false].map((wanted) => found.filter((item) => (item.dataset.severity === "edit") === wanted));
  const order = (item) => compared.severities.indexOf(item.dataset.severity);
  others.sort((left, right) => order(left) - order(right));
  const title = `${releases.length} releases between the two moved something: ${others.length} findings, and ${edits.length} about code to edit`;
  const note = "Each release was measured when it joined a stack alone, so a later one may have undone it, and one that is not on the ladder is not here. What is left of them: ";
  const parts = [make("summary", {}, title), make("p", { class: "quiet" }, note, make("code", {}, `tunematrix explain ${names.join(" ")}`))];
  if (others.length) parts.push(make("ul", { class: "findings" }, ...others));
  if (edits.length) parts.push(make("details", {}, make("summary", {}, `${edits.length} about code to edit`), make("ul", { class: "findings" }, ...edits)));
  return make("details", { open: "", class: "between" }, ...parts);
}

function showDifference() {
  const names = ["compare-from", "compare-to"].map((id) => document.getElementById(id).value);
  const [from, to] = names.map((name) => compared.cells.indexOf(name));
  const details = document.getElementById("compare-details"), answer = document.getElementById("compare-answer");
  details.replaceChildren();
  if (from === to) {
    answer.textContent = "Choose two different cells.";
    return;
  }
  const comparable = compared.kinds.options.every(([, , places]) => places[from] === places[to]);
  const rows = Object.fromEntries(Object.keys(KINDS).map((kind) => {
    const found = differences(kind, from, to, 2);
    if (kind === "packages") return [kind, [...found, ...differences(kind, from, to, 1)]];
    return [kind, kind === "defaults" ? grouped(found) : comparable || kind !== "numbers" ? found : []];
  }));
  const shown = Object.keys(KINDS).filter((kind) => rows[kind].length);
  answer.textContent = shown.length ? `${shown.map((kind) => `${KINDS[kind]}: ${rows[kind].length}`).join("; ")}.` : "Nothing that is compared here differs.";
  const command = `tunematrix diff ${names.join(" ")}`;
  details.append(make("p", {}, "The judged answer: ", make("code", { id: "compare-command", tabindex: "0" }, command), " ",
    copyButton("compare-command", "copy the command")));
  if (!comparable) details.append(make("p", {}, "The two ran with different options, so their numbers are not compared."));
  for (const kind of ["stages", "packages"]) if (rows[kind].length) details.append(differenceTable(KINDS[kind], rows[kind], kind === "stages"));
  details.append(findingsBetween(names, from, to));
  for (const kind of shown.filter((kind) => kind !== "stages" && kind !== "packages")) details.append(differenceTable(KINDS[kind], rows[kind], false));
  const single = ["numbers", "defaults"].map((kind) => `${differences(kind, from, to, 1).length} ${kind}`);
  details.append(make("p", { class: "quiet" }, `Known of one of the two alone: ${single.join(", ")}.`));
}

if (compared) {
  for (const id of ["compare-from", "compare-to"]) document.getElementById(id).addEventListener("change", showDifference);
  document.getElementById("compare-swap").addEventListener("click", () => {
    const [from, to] = ["compare-from", "compare-to"].map((id) => document.getElementById(id));
    [from.value, to.value] = [to.value, from.value];
    showDifference();
  });
  showDifference();
}
