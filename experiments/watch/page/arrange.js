// How many chassis stand in a row, and how many nodes in a row of a chassis; pure.

/**
 * By how many nodes there are: the least width and the height of a node's cell, the space
 * between two, and what a chassis needs beside its cells; in pixels. ``columns``: the fewest
 * that leave room for the words of a chassis.
 */
const DENSITIES = [
  { name: "roomy", nodes: 36, width: 150, height: 107, gap: 6, sides: 34, columns: 1 },
  { name: "compact", nodes: 300, width: 88, height: 44, gap: 6, sides: 34, columns: 1 },
  {
    name: "dense",
    nodes: Infinity,
    width: 60,
    height: 42,
    gap: 5,
    sides: 28,
    columns: 2,
  },
];
/** What a chassis needs above its nodes. */
const HEAD = 70;
/** On a narrower screen each chassis has a row of its own: a list. */
const LIST_BELOW = 520;

/** ``name`` of the density, chassis ``perRow``, node ``columns``: the least height wins. */
export function arrange(width, chassis, nodes) {
  const density = DENSITIES.find((each) => chassis * nodes <= each.nodes);
  const listed = isList(width) ? 1 : chassis;
  let best = { name: density.name, perRow: 1, columns: 1 };
  let least = Infinity;
  for (let perRow = 1; perRow <= listed; perRow++) {
    const inside = width / perRow - density.sides;
    const columns = Math.min(
      nodes,
      Math.floor((inside + density.gap) / (density.width + density.gap)),
    );
    if (columns < Math.min(density.columns, nodes)) break;
    const rows = Math.ceil(chassis / perRow);
    const height = rows * (HEAD + Math.ceil(nodes / columns) * density.height);
    if (height <= least) {
      least = height;
      best = { name: density.name, perRow, columns };
    }
  }
  return best;
}

/** Whether each chassis has a row of its own at that width. */
export function isList(width) {
  return width < LIST_BELOW;
}

/** A node's columns, spread evenly over its rows: 4, 4, 2 becomes 4, 3, 3. */
export function evenly(number, columns) {
  return Math.ceil(number / Math.ceil(number / columns));
}
