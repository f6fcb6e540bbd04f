const known = readData("check-data");
const normal = (name) => name.toLowerCase().replace(/[-_.]+/g, "-");
const PIN = /^([a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)\s*(?:\[[^\]]*\])?\s*(.*)$/i;
const CLAUSES = /^(?:===|==|!=|<=|>=|~=|<|>)\s*[^\s,]+(?:\s*,\s*(?:===|==|!=|<=|>=|~=|<|>)\s*[^\s,]+)*$/;

// The lines with an entry, [number, text]: without comments, and those that end with a backslash joined.
function entriesOf(text) {
  const entries = [];
  let joined = "", start = 1;
  for (const [place, line] of [...text.split(/\r\n|\r|\n/), ""].entries()) {
    if (line.endsWith("\\") && !line.trimStart().startsWith("#")) {
      joined += `${line.slice(0, -1)} `;
      continue;
    }
    const entry = (joined + line).replace(/(^|\s)#.*/, "").trim();
    if (entry) entries.push([start, entry]);
    joined = "";
    start = place + 2;
  }
  return entries;
}

// The pins of a requirements file, the packages without one version, and the lines that are not compared.
function readRequirements(text) {
  const pins = {}, loose = [], unread = [];
  for (const [number, entry] of entriesOf(text)) {
    const skip = (why) => unread.push(`line ${number}: ${entry.slice(0, 120)}: ${why}`);
    const [, name, rest] = PIN.exec(entry.replace(/\s--[a-z][a-z-]*(?:=|\s+)\S+/g, "").trim()) ?? [];
    const specifier = rest?.replace(/^\((.*)\)$/, "$1").trim();
    if (/^(-r|-c|--requirement|--constraint)/.test(entry)) skip("another file; paste its lines too");
    else if (/^(-e|--editable)/.test(entry)) skip("not a release");
    else if (entry.startsWith("-")) skip("an option of the installer");
    else if (!name || (specifier && !/^[<>=!~@;]/.test(specifier))) skip("not a requirement");
    else if (specifier.includes(";")) skip("has a condition; tunematrix check reads it");
    else if (specifier.startsWith("@")) skip("not a release on an index");
    else if (specifier && !CLAUSES.test(specifier)) skip("not a requirement");
    else {
      const exact = specifier.split(",").map((clause) => /^={2,3}\s*([^*]+)$/.exec(clause.trim())).find(Boolean);
      if (exact) pins[normal(name)] = exact[1].trim();
      else loose.push(normal(name));
      if (!exact) skip("no exact version, so not compared");
      else if (parseVersion(exact[1]) === null) skip("no version that can be compared");
    }
  }
  return { pins, loose: loose.filter((name) => !(name in pins)), unread };
}

// As `verdict/standing.py`: the issues whose conditions are met, then what a release broke and none mended.
function problemsOf(pins) {
  const issues = known.issues.filter((issue) => issue.when.every(([name, specifier]) => name in pins && meets(pins[name], specifier)));
  const severities = new Map(issues.flatMap((issue) => issue.stages.map((stage) => [stage, issue.severity])));
  const releases = brokenByReleases(pins).filter((problem) =>
    // That a stage is silently wrong does not say that it crashes.
    problem.stages.some((stage) => !["broken", problem.severity].includes(severities.get(stage))));
  return [...issues, ...releases].sort((left, right) => (left.severity !== "broken") - (right.severity !== "broken"));
}

function brokenByReleases(pins) {
  const seen = new Map();
  for (const rung of known.rungs.filter((each) => each.package in pins && meets(pins[each.package], `>=${each.after}`))) {
    for (const [name, before, after] of rung.stages.filter(([, , after]) => after.split(":")[0] !== "not_run")) {
      seen.set(name, [...(seen.get(name) ?? []), { rung, name, before, after }]);
    }
  }
  const standing = new Map();
  for (const outcomes of seen.values()) {
    const last = outcomes.at(-1), earlier = outcomes.length > 1 ? outcomes.at(-2).after : last.before;
    if (!known.broken.includes(last.after.split(":")[0]) || earlier !== "passed") continue;
    standing.set(last.rung, [...(standing.get(last.rung) ?? []), last]);
  }
  return [...standing].map(([rung, entries]) => {
    const stages = known.stages.filter((name) => entries.some((entry) => entry.name === name));
    const outcome = entries[0].after;
    return { id: `${rung.package}-${rung.after}`, severity: outcome.endsWith("Mismatch") ? "wrong" : "broken", stages,
      cause: `${rung.cause}: ${outcome}`, fix: rung.fixes[stages[0]], link: "" };
  });
}

function problemItem(problem) {
  const cause = problem.link.startsWith("https://") ? make("a", { href: problem.link, rel: "noopener noreferrer" }, problem.cause) : problem.cause;
  return make("li", { "data-id": problem.id }, make("span", { class: `tag ${problem.severity}` }, problem.severity), " ",
    problem.stages.join(", "), ": ", cause, make("div", { class: "quiet" }, `mend it: ${problem.fix}`));
}

function checkRequirements() {
  const { pins, loose, unread } = readRequirements(document.getElementById("check-text").value);
  const list = document.getElementById("check-problems"), answer = document.getElementById("check-answer");
  const missing = known.core.filter((name) => loose.includes(name) || (!(name in pins) && name === "transformers"));
  const problems = missing.length ? [] : problemsOf(pins);
  if (missing.length) answer.textContent = `No exact version of ${missing.join(", ")}: freeze your environment and paste that.`;
  else answer.textContent = `${problems.length || "No"} known problem${problems.length === 1 ? "" : "s"} in ${Object.keys(pins).length} pinned packages.`;
  list.replaceChildren(...problems.map(problemItem));
  document.getElementById("check-unread").replaceChildren(...(unread.length ? [make("p", {}, "Not checked:"),
    make("ul", {}, ...unread.map((line) => make("li", {}, line)))] : []));
}

document.getElementById("check-run").addEventListener("click", checkRequirements);
