// The nodes, the links and the log, updated in place.

import { bytes, clock, element, flow, percent, put, rate, set } from "./text.js";

const rows = new Map(), links = new Map();

export function nodes(body, state, order) {
  for (const node of state.nodes) {
    if (!rows.has(node.name)) rows.set(node.name, node_row(body, node, order));
    const row = rows.get(node.name);
    set(row.state, "class", `chip ${node.state}`);
    put(row.state, node.state);
    [node.round, flow(node.out_bps), flow(node.in_bps), bytes(node.rss_bytes), percent(node.cpu)]
      .forEach((value, n) => put(row.cells[n], String(value)));
    const stopped = ["done", "failed", "lost", "interrupted"].includes(node.state);
    row.pause.disabled = row.kill.disabled = !state.orders || stopped;
    put(row.pause, ["paused", "frozen"].includes(node.state) ? "Continue" : "Pause");
    row.actions.hidden = state.over || Boolean(state.no_orders);
  }
}

function node_row(body, node, order) {
  const state = element("span", { class: "chip" });
  const labels = ["round", "out", "in", "memory", "CPU"];
  const cells = labels.map((label) => element("td", { class: "n", "data-label": label }));
  const pause = element("button", { type: "button", "aria-label": `Pause or continue ${node.name}` }, "Pause");
  const kill = element("button", { type: "button", class: "danger", "data-kill": node.name, "aria-label": `Kill ${node.name}` }, "Kill");
  pause.addEventListener("click", () => order({ [pause.textContent === "Pause" ? "pause" : "continue"]: node.name }));
  sure(kill, `Kill ${node.name}?`, () => order({ kill: node.name }));
  const actions = element("td", { class: "act" }, pause, kill);
  const name = element("th", { scope: "row" }, element("b", {}, node.name), ` `, element("span", { class: "soft" }, [node.role, node.device].filter(Boolean).join(", ")));
  body.append(element("tr", { id: `node-${node.name}`, "data-node": node.name }, name, element("td", {}, state), ...cells, actions));
  return { state, cells, pause, kill, actions };
}

// A button that asks once more, in its own place.
function sure(button, question, act) {
  const words = button.textContent;
  let waiting = 0;
  const calm = () => { clearTimeout(waiting); waiting = 0; button.classList.remove("sure"); put(button, words); };
  button.addEventListener("click", () => {
    if (waiting) { calm(); act(); return; }
    put(button, question);
    button.classList.add("sure");
    waiting = setTimeout(calm, 4000);
  });
  button.addEventListener("blur", calm);
}

export function link_list(box, state, order, degrade) {
  for (const link of state.links) {
    if (!links.has(link.name)) links.set(link.name, link_row(box, link, order, degrade));
    const row = links.get(link.name);
    set(row.box, "class", `link ${link.status}`);
    put(row.status, link.says);
    link.lanes.forEach((lane, n) => {
      const way = row.ways[n];
      const load = lane.asked_bps ? Math.min(1, lane.bps / lane.asked_bps) : 0;
      way.bar.style.width = `${(100 * load).toFixed(1)}%`;
      set(way.meter, "class", load >= 0.85 ? "meter full" : "meter");
      put(way.words, lane.asked_bps === 0 ? "cut" : `${flow(lane.bps)} of ${rate(lane.asked_bps)}`);
    });
    row.buttons.forEach((button) => { button.disabled = !state.orders; });
    row.buttons[2].disabled ||= !link.status;
    row.actions.hidden = state.over || Boolean(state.no_orders);
  }
}

function link_row(box, link, order, degrade) {
  const button = (words, act) => {
    const made = element("button", { type: "button", "aria-label": `${words} ${link.name}` }, words);
    made.addEventListener("click", act);
    return made;
  };
  const buttons = [button("Degrade", () => degrade(link)), button("Cut", () => order({ cut: link.name })), button("Restore", () => order({ restore: link.name }))];
  const status = element("span", { class: "status" });
  const ways = link.lanes.map((lane) => {
    const bar = element("i"), meter = element("span", { class: "meter" }, bar), words = element("span", { class: "n" });
    const plain = (name) => name.startsWith("#") ? name.slice(1) : name;
    return { bar, meter, words, box: element("div", { class: "way" }, element("span", {}, `${plain(lane.source)} \u2192 ${plain(lane.target)}`), meter, words) };
  });
  const actions = element("div", { class: "act" }, ...buttons);
  const made = element("div", { class: "link", "data-link": link.name },
    element("div", {}, element("b", {}, link.name), " ", element("span", { class: "soft" }, link.kind), status),
    element("div", { class: "lanes" }, ...ways.map((way) => way.box)), actions);
  box.append(made);
  return { box: made, status, ways, buttons, actions };
}

let newest = 0;

export function log(list, state) {
  const fresh = state.log.filter((line) => line.n > newest);
  if (!fresh.length) return;
  const below = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  newest = fresh.at(-1).n;
  list.append(...fresh.map((line) => element("li", { class: line.kind },
    element("time", {}, clock(Math.max(0, line.t_s))), element("span", { class: "who" }, line.node || "run"), element("span", { class: "what" }, line.text))));
  while (list.children.length > 200) list.firstChild.remove();
  if (below) list.scrollTop = list.scrollHeight;
}
