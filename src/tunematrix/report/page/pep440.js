// Versions and specifiers as PEP 440 has them; a browser's test compares both with Python's `packaging`.
const VERSION = new RegExp("^v?(?:(\\d+)!)?(\\d+(?:\\.\\d+)*)(?:[-_.]?(alpha|beta|preview|pre|a|b|c|rc)[-_.]?(\\d*))?"
  + "(?:-(\\d+)|[-_.]?(post|rev|r)[-_.]?(\\d*))?(?:[-_.]?(dev)[-_.]?(\\d*))?(?:\\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$", "i");
const PHASES = { a: 0, alpha: 0, b: 1, beta: 1, c: 2, rc: 2, pre: 2, preview: 2 };

function parseVersion(text) {
  const match = VERSION.exec(text.trim());
  if (!match) return null;
  const [, epoch, release, phase, phaseNumber, dashed, post, postNumber, dev, devNumber, local] = match;
  return {
    epoch: Number(epoch ?? 0),
    release: release.split(".").map(Number),
    pre: phase ? [PHASES[phase.toLowerCase()], Number(phaseNumber || 0)] : null,
    post: dashed ? Number(dashed) : post ? Number(postNumber || 0) : null,
    dev: dev ? Number(devNumber || 0) : null,
    local: local ? local.toLowerCase().split(/[-_.]/) : null,
  };
}

function compareLists(left, right, none, compareItems = (a, b) => a - b) {
  for (let place = 0; place < Math.max(left.length, right.length); place += 1) {
    if (none === null && (place >= left.length || place >= right.length)) return left.length - right.length;
    const order = compareItems(left[place] ?? none, right[place] ?? none);
    if (order) return order;
  }
  return 0;
}

// A development release comes before a phase, a phase before the release, the release before what follows it.
const phaseOf = (version) => version.pre ?? (version.post === null && version.dev !== null ? [-1, 0] : [3, 0]);

const comparePhases = (left, right) => compareLists(left.pre ?? [3, 0], right.pre ?? [3, 0], 0);

function compareSegments(left, right) {
  const numbers = [left, right].map((each) => /^\d+$/.test(each));
  if (numbers[0] !== numbers[1]) return numbers[0] ? 1 : -1;
  return numbers[0] ? Number(left) - Number(right) : left < right ? -1 : Number(left > right);
}

function comparePublic(left, right) {
  return left.epoch - right.epoch || compareLists(left.release, right.release, 0)
    || compareLists(phaseOf(left), phaseOf(right), 0) || (left.post ?? -1) - (right.post ?? -1)
    || Math.sign((left.dev ?? Infinity) - (right.dev ?? Infinity) || 0);
}

function compareVersions(left, right) {
  const order = comparePublic(left, right);
  if (order || (!left.local && !right.local)) return order;
  if (!left.local || !right.local) return left.local ? 1 : -1;
  return compareLists(left.local, right.local, null, compareSegments);
}

function hasPrefix(version, release, epoch) {
  return version.epoch === epoch && release.every((part, place) => (version.release[place] ?? 0) === part);
}

function meetsClause(text, clause) {
  const [, operator, wanted] = /^(===|==|!=|<=|>=|~=|<|>)\s*(.+)$/.exec(clause.trim());
  if (operator === "===") return text.trim().toLowerCase() === wanted.toLowerCase();
  const version = parseVersion(text), bound = parseVersion(wanted.replace(/\.\*$/, ""));
  if (wanted.endsWith(".*")) return hasPrefix(version, bound.release, bound.epoch) === (operator === "==");
  const sameRelease = compareLists(version.release, bound.release, 0) === 0 && version.epoch === bound.epoch;
  const order = comparePublic(version, bound);
  switch (operator) {
    case "==": return (bound.local ? compareVersions(version, bound) : order) === 0;
    case "!=": return (bound.local ? compareVersions(version, bound) : order) !== 0;
    case "<=": return order <= 0;
    case ">=": return order >= 0;
    case "~=": return order >= 0 && hasPrefix(version, bound.release.slice(0, -1), bound.epoch);
    case "<": // below its own phases and development releases too, unless it is one of them
      return comparePublic(version, bound.pre || bound.dev !== null ? bound : { ...bound, dev: 0 }) < 0;
    default: // not its own post-releases
      return order > 0 && (bound.dev !== null || bound.post !== null || !sameRelease || comparePhases(version, bound) !== 0);
  }
}

// As `SpecifierSet.contains` with pre-releases; false for a text that is no version.
function meets(text, specifier) {
  return parseVersion(text) !== null && specifier.split(",").filter(Boolean).every((clause) => meetsClause(text, clause));
}
