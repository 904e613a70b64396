// A curve over the rounds, with marks where something happened.

import { element } from "./text.js";

const H = 118, LEFT = 44, RIGHT = 10, TOP = 8, BOTTOM = 20;

function ticks(low, high, about) {
  const span = high > low ? high - low : Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / about));
  const step = power * [1, 2, 5, 10].find((f) => span / (power * f) <= about + 1e-9);
  const first = Math.floor(low / step + 1e-9), last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

// points: [[round, value]], marks: [{round, kind, says}], show: a value in words
export function chart(svg, tone, title, points, marks, rounds, show, fromZero = false) {
  const W = Math.max(240, Math.round(svg.clientWidth || 360));
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  svg.setAttribute("role", "img");
  const last = points.at(-1);
  svg.setAttribute("aria-label", last ? `${title}: ${show(last[1])} in round ${last[0]}` : `${title}: nothing yet`);
  const drawn = [];
  if (!last) {
    drawn.push(element("text", { class: "axis", x: LEFT, y: H / 2 }, "nothing yet"));
    return svg.replaceChildren(...drawn);
  }
  const values = points.map(([, value]) => value);
  const up = ticks(fromZero ? 0 : Math.min(...values), Math.max(...values), 3);
  const most = Math.max(Math.min(rounds || 0, 10), last[0], 1);
  const x = (round) => LEFT + (W - LEFT - RIGHT) * round / most;
  const y = (value) => H - BOTTOM - (H - TOP - BOTTOM) * (value - up[0]) / (up.at(-1) - up[0]);
  for (const value of up) {
    drawn.push(element("line", { class: "rule", x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value) }),
      element("text", { class: "axis", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, show(value, true)));
  }
  for (const round of [...new Set([0, Math.round(most / 2), most])]) {
    const anchor = round === most ? "end" : round === 0 ? "start" : "middle";
    drawn.push(element("text", { class: "axis", x: x(round), y: H - 5, "text-anchor": anchor }, round === most ? `round ${round}` : `${round}`));
  }
  for (const mark of marks) {
    const at = x(Math.min(mark.round, most));
    drawn.push(element("line", { class: `mark ${mark.kind}`, x1: at, x2: at, y1: TOP, y2: H - BOTTOM }, element("title", {}, mark.says)));
  }
  const path = points.map(([round, value], n) => `${n ? "L" : "M"}${x(round).toFixed(1)},${y(value).toFixed(1)}`).join("");
  drawn.push(element("path", { class: `series tone-${tone}`, d: path }),
    element("circle", { class: `last fill-${tone}`, cx: x(last[0]), cy: y(last[1]), r: 3.5 }));
  svg.replaceChildren(...drawn);
}
