// Multiply-adds of each layer beside the milliseconds that it takes.

import { ask } from "./ask.js";
import { element } from "./paint.js";

const KINDS = {
  Conv2D: "ordinary", DepthwiseConv2D: "depthwise", PointwiseConv2D: "pointwise", MultiHeadSelfAttention: "attention",
};
const NAMES = {
  ordinary: "ordinary convolution", depthwise: "depthwise", pointwise: "pointwise", attention: "attention",
  other: "normalization, additions, others",
};
const KEYS = Object.keys(NAMES);
const three = { minimumSignificantDigits: 3, maximumSignificantDigits: 3 };
const digits = (value) => (value ? value.toLocaleString("en", three) : "0");

let shown = null; // the name of the network in the tables

export function startCost(refresh) {
  element("cost-again").addEventListener("click", () => {
    shown = null;
    refresh({ again: 1 });
  });
}

export async function showCost(network, again = {}) {
  if (shown === network) return;
  element("cost-message").textContent = "Measuring";
  element("cost-again").disabled = true;
  let found;
  try {
    found = await ask("cost", { network, ...again });
  } finally {
    element("cost-message").textContent = "";
    element("cost-again").disabled = false;
  }
  const { rows, blocks, whole_ms: whole } = found;
  shown = network;
  const parts = gather(rows);
  const used = KEYS.filter((kind) => parts.some((part) => part.multiply_adds[kind] || part.ms[kind]));
  element("cost-key").innerHTML = used.map((kind) => `<span class="key ${kind}"></span> ${NAMES[kind]}`).join(" ");
  const most = { multiply_adds: 0, ms: 0 };
  for (const part of parts) for (const what in most) most[what] = Math.max(most[what], sum(part[what]));
  fill("cost-parts", parts.map((part) => [part.name, bar(part, "multiply_adds", most), digits(sum(part.multiply_adds) / 1e6),
    bar(part, "ms", most), digits(sum(part.ms))]));
  fill("cost-blocks", blocks.map((block) => [block.path, digits(block.standard_multiply_adds / 1e6),
    digits(block.multiply_adds / 1e6), digits(1 / block.ratio), digits(block.standard_ms), digits(block.ms),
    digits(block.standard_ms / block.ms)]));
  const [work, ms] = ["multiply_adds", "ms"].map((what) => rows.reduce((total, row) => total + (row[what] ?? 0), 0));
  element("cost-message").textContent =
    `${digits(work / 1e6)} million multiply-adds; ${digits(ms)} ms layer by layer, ${digits(whole)} ms in one call as ` +
    "predict runs it";
}

// Rows of layers gathered into the parts that the network holds directly, by kind of layer.
function gather(rows) {
  const parts = new Map();
  for (const row of rows) {
    const name = row.path.split(".")[0].replace(/_(norm|activation)$/, "") || row.kind;
    if (!parts.has(name)) parts.set(name, { name, multiply_adds: {}, ms: {} });
    const kind = KINDS[row.kind] ?? "other";
    for (const what of ["multiply_adds", "ms"]) {
      parts.get(name)[what][kind] = (parts.get(name)[what][kind] ?? 0) + (row[what] ?? 0);
    }
  }
  return [...parts.values()];
}

const sum = (kinds) => Object.values(kinds).reduce((a, b) => a + b, 0);

function bar(part, what, most) {
  const stack = document.createElement("div");
  stack.className = "stack";
  stack.setAttribute("aria-hidden", "true");
  for (const kind of KEYS) {
    const share = (100 * (part[what][kind] ?? 0)) / most[what];
    if (!share) continue;
    const piece = stack.appendChild(document.createElement("i"));
    piece.className = kind;
    piece.style.width = `${share}%`;
  }
  return stack;
}

// Put rows into a table: the first cell names the row.
function fill(table, rows) {
  element(table).tBodies[0].replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((cell, number) => {
        const place = row.appendChild(document.createElement(number ? "td" : "th"));
        if (!number) place.scope = "row";
        place.append(cell);
      });
      return row;
    }),
  );
}
