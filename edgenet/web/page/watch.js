// The page of one run: every state that the server sends is shown whole.

import { chart } from "./charts.js";
import { network } from "./network.js";
import { degrade, order } from "./order.js";
import { link_list, log, nodes } from "./tables.js";
import { bytes, clock, duration, number, percent, put } from "./text.js";

const at = (id) => document.getElementById(id);
let latest = null;

function show(state) {
  latest = state;
  head(state);
  network(at("network"), state);
  curves(state);
  nodes(at("nodes").tBodies[0], state, order);
  put(at("node-count"), String(state.nodes.length));
  link_list(at("links"), state, order, degrade);
  log(at("log"), state);
}

function head(state) {
  const { run } = state;
  document.title = `${state.over ? state.outcome : `${state.round}/${run.rounds}`} \u00b7 ${run.topology} \u00b7 edgenet`;
  put(at("name"), run.topology || run.name);
  put(at("scheme"), [run.scheme, run.shaping && `shaping ${run.shaping}`, `seed ${run.seed}`].filter(Boolean).join(" \u00b7 "));
  const outcome = at("outcome");
  put(outcome, state.outcome);
  outcome.className = `pill ${state.over ? (state.outcome === "done" ? "done" : "failed") : "going"}`;
  const done = state.rounds.number.at(-1) || 0;
  at("progress").value = run.rounds ? done / run.rounds : 0;
  put(at("round"), `round ${state.over ? done : state.round} of ${run.rounds ?? "?"}`);
  const parts = [clock(state.elapsed_s)];
  if (state.round_s != null) parts.push(`${duration(state.round_s)} a round`);
  if (state.left_s) parts.push(`${clock(state.left_s)} left`);
  put(at("time"), parts.join(" \u00b7 "));
  at("error").hidden = !state.error;
  put(at("error"), state.error || "");
  at("no-orders").hidden = !state.no_orders;
  put(at("no-orders"), state.no_orders);
}

function curves(state) {
  const { rounds, marks } = state;
  const points = (key) => rounds.number.map((round, n) => [round, rounds[key][n]]).filter(([, value]) => value != null);
  const draw = (key, title, show, fromZero) => {
    const found = points(key);
    chart(at(key), key, title, found, marks, state.run.rounds, show, fromZero);
    put(at(`now-${key}`), found.length ? show(found.at(-1)[1]) : "");
  };
  draw("accuracy", "Test accuracy", (value, axis) => axis ? percent(value).replace(".0", "") : percent(value));
  draw("loss", "Training loss in nats", (value, axis) => axis ? String(value) : number(value));
  draw("bytes", "Sent in a round", (value, axis) => axis ? bytes(value).replace(/\.0+ /, " ") : bytes(value), true);
}

function connect() {
  const events = new EventSource("events");
  const live = at("live");
  events.addEventListener("open", () => put(live, ""));
  events.addEventListener("state", (event) => {
    put(live, "");
    const state = JSON.parse(event.data);
    show(state);
    if (state.over) events.close();
  });
  events.addEventListener("error", () => {
    put(live, "not connected; trying again");
    if (latest) show({ ...latest, orders: false });
    if (events.readyState === EventSource.CLOSED && !latest?.over) setTimeout(connect, 2000);
  });
}

addEventListener("resize", () => latest && curves(latest));
connect();
