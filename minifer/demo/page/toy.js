// Sliders for width, resolution and kernel: the formulas with numbers put in.

import { network } from "./formulas.js";
import { element } from "./paint.js";

const SLIDERS = ["alpha", "side", "kernel"].map((name) => element(`toy-${name}`));
const whole = new Intl.NumberFormat("en");
const rounded = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export function startToy(table) {
  const choice = element("toy-block");
  choice.replaceChildren(...table.blocks.map((_, number) => new Option("", number)));
  choice.value = 5;
  const redraw = () => draw(table);
  [...SLIDERS, choice].forEach((each) => each.addEventListener("input", redraw));
  redraw();
}

function draw(table) {
  const [alpha, side, kernel] = SLIDERS.map((slider) => Number(slider.value));
  element("toy-alpha-now").textContent = alpha;
  element("toy-side-now").textContent = `${side} × ${side}`;
  element("toy-kernel-now").textContent = `${kernel} × ${kernel}`;
  const [net, usual] = [network(table, alpha, side, kernel), network(table, 1, side, kernel)];
  net.blocks.forEach((row, number) => {
    const stride = row.stride > 1 ? `, stride ${row.stride}` : "";
    element("toy-block").options[number].text = `${number + 1}: ${row.channels} to ${row.filters}${stride}`;
  });
  const row = net.blocks[element("toy-block").value];
  const [positions, channels, filters] = [row.size ** 2, row.channels, row.filters].map((n) => whole.format(n));
  element("toy-formulas").innerHTML =
    formula("<span class='key ordinary'></span> Ordinary convolution", "<var>P K</var>² <var>C F</var>", `${positions} · ${kernel ** 2} · ${channels} · ${filters}`,
      row.ordinary, [["ordinary", row.ordinary]], row.ordinary, row.separable) +
    formula("<span class='key depthwise'></span> Depthwise, <span class='key pointwise'></span> then pointwise", "<var>P K</var>² <var>C</var> + <var>P C F</var>",
      `${positions} · ${kernel ** 2} · ${channels} + ${positions} · ${channels} · ${filters}`,
      row.separable, [["depthwise", row.depthwise], ["pointwise", row.pointwise]], row.ordinary, row.separable) +
    `<div class="formula"><strong>Separable over ordinary</strong> = 1/<var>F</var> + 1/<var>K</var>²
      <div class="in">1/${filters} + 1/${kernel ** 2} = <strong id="toy-ratio">${row.ratio.toFixed(4)}</strong>: ${times(row.ratio)}</div></div>`;
  element("toy-network").innerHTML =
    formula("With ordinary convolutions", "stem + 13 blocks + classifier", "", net.ordinary, [["ordinary", net.ordinary]],
      net.ordinary, net.separable) +
    formula("MobileNet", "stem + 13 separable blocks + classifier", "", net.separable, [["pointwise", net.separable]],
      net.ordinary, net.separable) +
    `<div class="hint">${width(alpha, net.separable / usual.separable)} Twice the side is about four times the work.</div>`;
  element("toy-spoken").textContent =
    `${whole.format(row.separable)} multiply-adds in place of ${whole.format(row.ordinary)}, ${times(row.ratio)}.`;
  document.querySelectorAll("#panel-toy .stack i").forEach((bar) => {
    bar.style.width = `${bar.dataset.width}%`;
  });
}

function formula(title, symbols, numbers, result, parts, ...both) {
  const most = Math.max(...both);
  const bars = parts.map(([kind, value]) => `<i class="${kind}" data-width="${(100 * value) / most}"></i>`).join("");
  const filled = `${numbers && `${numbers} = `}<strong>${whole.format(result)}</strong> multiply-adds`;
  return `<div class="formula"><strong>${title}</strong> ${symbols}<div class="in">${filled}</div>
    <div class="stack" aria-hidden="true">${bars}</div></div>`;
}

function width(alpha, ratio) {
  if (alpha === 1) return "Half the width is about a quarter of the work.";
  return `Width ${alpha} costs ${rounded.format(ratio)} times what width 1 does, about <var>α</var>² = ${alpha ** 2}.`;
}

function times(ratio) {
  if (ratio >= 1) return `${rounded.format(ratio)} times as many, here it does not pay`;
  return `${rounded.format(1 / ratio)} times fewer`;
}
