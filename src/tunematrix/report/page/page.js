"use strict";
const all = (selector) => [...document.querySelectorAll(selector)];

// Data that the page carries, which is text of others: it becomes text of elements, never HTML.
function readData(id) {
  const text = document.getElementById(id)?.textContent;
  return text ? JSON.parse(text) : null;
}

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function copyButton(id, text) {
  const button = make("button", { type: "button", class: "copy", "data-copies": id }, text);
  button.addEventListener("click", () => copyText(button));
  return button;
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

function choosePins() {
  const needs = all(".need:checked").map((box) => box.value);
  let left = 0;
  for (const item of all(".pins li")) {
    const passed = item.dataset.passed.trim().split(/\s+/);
    item.hidden = !needs.every((need) => passed.includes(need));
    left += item.hidden ? 0 : 1;
  }
  document.querySelector(".none-left").hidden = left > 0;
}

function filterFindings() {
  const severities = all(".severity:checked").map((box) => box.value);
  const wanted = document.querySelector(".package")?.value ?? "";
  for (const step of all(".a-step")) {
    const items = [...step.querySelectorAll("li")];
    for (const item of items) {
      const { severity, package: name } = item.dataset;
      item.hidden = !severities.includes(severity) || (wanted !== "" && name !== wanted);
    }
    step.hidden = items.length > 0 && items.every((item) => item.hidden);
  }
}

async function copyText(button) {
  const source = document.getElementById(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "copied";
  } catch { // a page from a file may not write to the clipboard: show what to copy, selected
    for (let node = source; node; node = node.parentElement) if (node instanceof HTMLDetailsElement) node.open = true;
    getSelection().selectAllChildren(source);
    source.focus();
  }
}

for (const box of all(".need")) box.addEventListener("change", choosePins);
for (const box of all(".severity, .package")) box.addEventListener("change", filterFindings);
for (const button of all(".copy")) button.addEventListener("click", () => copyText(button));
addEventListener("hashchange", openTarget);
choosePins();
if (location.hash) openTarget();
