// How values and facts are said; pure. What is not known is "–", never 0.

const UNKNOWN = "–";
const NUMBER = new Intl.NumberFormat("en");

/** A count, in groups of three digits. */
export function count(value) {
  return value === null || value === undefined ? UNKNOWN : NUMBER.format(value);
}

/** A rate per second: one digit after the point below 10. */
export function rate(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value > 0 && value < 0.05) return "<0.1/s";
  const text =
    value > 0 && value < 9.95 ? value.toFixed(1) : NUMBER.format(Math.round(value));
  return `${text.replace(/\.0$/, "")}/s`;
}

/** A count with its noun: "1 connection", "8 connections", "no connections". */
export function counted(value, one, several = `${one}s`) {
  if (value === 0) return `no ${several}`;
  return `${count(value)} ${value === 1 ? one : several}`;
}

/** A time of day, of this browser's time zone. */
export function clock(seconds) {
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
}

/** A duration in seconds: "2 min 4 s". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** A duration in milliseconds, with three digits at most. */
export function milliseconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ms`;
}

/** The state of a node in words. */
export function nodeState(node) {
  if (node.alive === false) return "failed";
  if (node.in_service === false && node.state === "in-service") return "out of service";
  return (node.state ?? "state unknown").replaceAll("-", " ");
}

/** The states of a chassis that differ from a healthy one's. */
export function chassisTroubles(chassis) {
  if (chassis.alive === false) return ["failed"];
  const found = [];
  if (chassis.uplink === false) found.push("uplink down");
  else if (chassis.in_service === false) found.push("out of service");
  if (chassis.in_sync === false) found.push("not in sync");
  return found;
}

/** A node in one sentence, for screen readers and as a tooltip. */
export function nodeSentence(node) {
  const parts = [
    `${node.name}: ${nodeState(node)}`,
    counted(node.established, "connection"),
    ...trouble(node),
  ];
  if (node.strays_per_s) parts.push(`${rate(node.strays_per_s)} strays`);
  if (node.copies_per_s) parts.push(`${rate(node.copies_per_s)} copies`);
  return parts.join(", ");
}

/** Moved and half-open, where there are any, or where they are not known. */
export function trouble(figures) {
  const found = [];
  if (figures.moved !== 0) found.push(`${count(figures.moved)} moved`);
  if (figures.half_open !== 0) found.push(`${count(figures.half_open)} half-open`);
  return found;
}

/** A chassis in one sentence. */
export function chassisSentence(chassis, sums) {
  const troubles = chassisTroubles(chassis);
  return [
    `Chassis ${chassis.name}: ${troubles.length ? troubles.join(", ") : "in service"}`,
    counted(sums.nodes, "node"),
    counted(sums.established, "connection"),
    ...trouble(sums),
    `${rate(chassis.copies_per_s)} copies`,
  ].join(", ");
}

const DONE = {
  "drain-node": "drained",
  "fail-node": "failed",
  "restore-node": "restored",
  "add-node": "got a node",
  "fail-chassis": "failed",
  "restore-chassis": "restored",
  "add-chassis": "added",
  "uplink-down": "was cut off",
  "uplink-up": "is reachable again",
  reseed: "hashes with another basis",
};

/** What an event was: "c1n1 drained". */
export function happened(event) {
  return `${event.target} ${DONE[event.kind] ?? event.kind}`;
}

/** What became of an event: how many moved, were reset since, and are half-open now. */
export function outcome(event, resets, halfOpen) {
  const parts = [];
  if (event.moved !== null && event.moved !== undefined) {
    parts.push(`${counted(event.moved, "connection")} moved`);
  }
  if (resets !== null) parts.push(`${resets === 0 ? "none" : count(resets)} reset`);
  if (halfOpen !== null && halfOpen !== undefined) {
    parts.push(`${halfOpen === 0 ? "none" : count(halfOpen)} half-open`);
  }
  return `${happened(event)}. ${parts.join(", ")}.`;
}

const EFFECTS = {
  "drain-node":
    "It gets no new connections and stays up. The connections that it holds lead to other nodes.",
  "fail-node": "It loses power at once, and all its connections with it.",
  "restore-node": "It is balanced over again, and takes connections from other nodes.",
  "add-node":
    "A new node is built and takes connections from the others of its chassis.",
  "fail-chassis":
    "The chassis and all its nodes lose power at once, and their connections.",
  "restore-chassis":
    "It serves again, its nodes empty, and takes connections from the others.",
  "add-chassis":
    "A new chassis is built with its nodes and takes connections from the others.",
  "uplink-down":
    "The chassis is cut off from the fabric. Its nodes keep their connections.",
  "uplink-up": "The fabric reaches the chassis again and balances over it.",
  reseed: "No member joins or leaves, but connections move between the nodes.",
};

/** What an event that is possible will do, in one or two sentences. */
export function effect(possible) {
  return possible.summary ?? EFFECTS[possible.kind] ?? "";
}

/** A connection's reset in one sentence. */
export function resetSentence(reset) {
  const freed =
    reset.owner_freed_ms === null
      ? "has not freed it"
      : `freed it after ${milliseconds(reset.owner_freed_ms)}`;
  const owner = reset.owner ? `its owner ${reset.owner} ${freed}` : "no node held it";
  const stray = reset.new_node ? ` The stray reached ${reset.new_node}.` : "";
  const told =
    reset.client_reset_ms === null
      ? "has not been reset"
      : `was reset after ${milliseconds(reset.client_reset_ms)}`;
  return `Client ${reset.client} ${told}; ${owner}.${stray}`;
}
