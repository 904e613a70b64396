// Orders to the run, and the dialog of a degradation.

import { element, put } from "./text.js";

const said = document.getElementById("said");
let hiding = 0;

export function say(words, refused = false) {
  put(said, words);
  said.classList.toggle("refused", refused);
  said.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { said.hidden = true; }, refused ? 9000 : 4000);
}

// Returns '' where it was carried out, else why not.
async function give(order) {
  try {
    const answer = await fetch("order", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(order) });
    const told = await answer.json();
    if (told.says) say(told.says);
    return told.refused || "";
  } catch {
    return "edgenet does not answer; is its command still running?";
  }
}

export async function order(fields) {
  const refused = await give(fields);
  if (refused) say(refused, true);
}

const dialog = document.getElementById("degrade");
const form = dialog.querySelector("form");
const whom = document.getElementById("whom");
const refusal = document.getElementById("degrade-refused");
let about = null;

export function degrade(link) {
  about = link;
  put(document.getElementById("degrade-title"), `Degrade ${link.name}`);
  put(refusal, "");
  form.reset();
  const boxes = link.ends.length > 2 && link.ends.length <= 60 ? link.ends : [];
  whom.replaceChildren(whom.firstElementChild, ...boxes.map((name) => element("label", {}, element("input", { type: "checkbox", name: "nodes", value: name, checked: "" }), name)));
  whom.hidden = !boxes.length;
  dialog.showModal();
}

document.getElementById("degrade-not").addEventListener("click", () => dialog.close());

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = new FormData(form), fields = { degrade: about.name };
  for (const key of ["rate", "delay", "loss"]) if (given.get(key).trim()) fields[key] = given.get(key).trim();
  const chosen = given.getAll("nodes");
  if (!whom.hidden && chosen.length < about.ends.length) fields.nodes = chosen;
  const refused = await give(fields);
  put(refusal, refused);
  if (!refused) dialog.close();
});
