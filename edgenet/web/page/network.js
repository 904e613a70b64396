// The network: places and lines come from the server, the traffic on them with every state.

import { element, flow, percent, put, set } from "./text.js";

const ASIDE = 3; // of a line's middle: the two directions lie side by side
const MANY = 24;
const ROW = 13; // of words

let drawn = "";
const nodes = new Map(), lanes = new Map();

export function network(svg, state) {
  const plan = JSON.stringify(state.network);
  if (plan !== drawn) {
    drawn = plan;
    build(svg, state.network);
  }
  for (const link of state.links) link.lanes.forEach((lane) => paint(lanes.get(key(link.name, lane.source, lane.target)), lane, link));
  for (const node of state.nodes) tint(nodes.get(node.name), node);
}

const key = (...parts) => JSON.stringify(parts);

function build(svg, { height, places, names, lines, media }) {
  nodes.clear();
  lanes.clear();
  const [left, width] = Object.keys(places).length > MANY ? [0, 360] : [-14, 388];
  svg.setAttribute("viewBox", `${left} 0 ${width} ${height}`);
  svg.replaceChildren();
  const many = Object.keys(places).length > MANY;
  const areas = element("g"), halos = element("g"), ways = element("g"), rates = element("g"), dots = element("g");
  for (const { link, kind, corners, words, at } of media) {
    areas.append(element("polygon", { class: "medium", points: corners.join(" ") }, element("title", {}, `${link}: ${kind}`)));
    if (at) rates.append(element("text", { class: "link-name", "text-anchor": "middle", x: at[0], y: at[1] }, words));
  }
  for (const { a, b, link, at } of lines) {
    for (const [source, target] of [[b, a], [a, b]]) {
      const lane = build_lane(places[source], places[target], many);
      lane.words = at && word(at, source === b);
      halos.append(lane.halo);
      ways.append(lane.line, lane.flow);
      if (lane.words) rates.append(lane.words);
      lanes.set(key(link, source, target), lane);
    }
  }
  for (const [name, at] of Object.entries(places)) dots.append(dot(name, at, names[name], many));
  svg.append(areas, halos, ways, rates, dots);
}

function build_lane([x1, y1], [x2, y2], many) {
  const long = Math.hypot(x2 - x1, y2 - y1) || 1;
  const aside = many ? 0.8 : ASIDE;
  const [dx, dy] = [aside * (y2 - y1) / long, -aside * (x2 - x1) / long];
  const ends = { x1: x1 + dx, y1: y1 + dy, x2: x2 + dx, y2: y2 + dy };
  const line = element("line", { class: "lane", ...ends }, element("title"));
  return { halo: element("line", { class: "halo", ...ends }), line, flow: element("line", { class: "flow", ...ends }), thin: many };
}

// Both words of a line, one above the other: the server has found room for them.
const word = ([x, y], up) => element("text", { class: "rate", "text-anchor": "middle", x, y: up ? y : y + ROW });

function dot(name, [x, y], written, many) {
  if (name.startsWith("#")) {
    return element("g", {}, element("rect", { class: "hub", x: x - 9, y: y - 9, width: 18, height: 18, rx: 4 }),
      written_name(written));
  }
  const size = many ? 4 : 8;
  const title = element("title");
  const group = element("svg:a", { href: `#node-${name}` }, title,
    element("circle", { class: "ring", cx: x, cy: y, r: size + 3 }), element("circle", { class: "dot", cx: x, cy: y, r: size }));
  const words = written && element("text", { class: "state", x: written.at[0], y: written.at[1] + ROW, "text-anchor": written.anchor });
  if (written) group.append(written_name(written));
  if (!many) group.append(words);
  nodes.set(name, { group, title, words });
  return group;
}

const written_name = ({ at: [x, y], anchor, words }) => element("text", { class: "name", x, y, "text-anchor": anchor }, words);

function paint(lane, { source, target, bps, asked_bps }, link) {
  if (!lane) return;
  const load = asked_bps == null ? Math.min(1, bps / 1e9) : asked_bps > 0 ? Math.min(1, bps / asked_bps) : 0;
  const cut = asked_bps === 0;
  const kind = cut ? "cut" : load >= 0.85 ? "full" : bps > 0 ? "busy" : "";
  const least = lane.thin ? 0.6 : 1.4;
  set(lane.line, "class", `lane ${kind}`);
  set(lane.line, "stroke-width", (least + (lane.thin ? 1.5 : 3.6) * load).toFixed(2));
  set(lane.halo, "stroke-width", (lane.thin ? 4 : 6 + 10 * load).toFixed(2));
  lane.halo.style.opacity = load > 0 && !cut ? (0.12 + 0.3 * load).toFixed(2) : 0;
  lane.halo.style.stroke = lane.flow.style.stroke = kind === "full" ? "var(--t1)" : "";
  set(lane.flow, "class", load > 0.02 && !cut && !lane.thin ? "flow on" : "flow");
  const told = cut ? "cut" : `${flow(bps)}${asked_bps && bps >= 1 ? ` (${percent(load)})` : ""}`;
  put(lane.line.firstChild, `${link.name}: ${source} to ${target}: ${told}`);
  if (lane.words) put(lane.words, cut ? (source < target ? "cut" : "") : bps >= 1 ? `${arrow(source, target, lane)} ${flow(bps)}` : "");
}

function arrow(source, target, lane) {
  const number = (name) => Number(lane.line.getAttribute(name));
  const [dx, dy] = [number("x2") - number("x1"), number("y2") - number("y1")];
  if (Math.abs(dx) > Math.abs(dy)) return dx > 0 ? "\u2192" : "\u2190";
  return dy > 0 ? "\u2193" : "\u2191";
}

function tint(shown, node) {
  if (!shown) return;
  set(shown.group, "class", node.state);
  put(shown.title, `${node.name} (${node.role}, ${node.device}): ${node.state}`);
  if (shown.words) put(shown.words, node.state);
}
