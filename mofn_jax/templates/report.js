"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const MOST_ROWS = 500, MOST_LITERALS = 10, MOST_PICTURES = 8, EXAMPLES_AT_ONCE = 24;
const COLORS = ["#3b82c4", "#d9822b", "#3f9b52", "#c94f4f", "#8e6bbf", "#9a6a53", "#cf6fae", "#9a9a2e", "#27a5b0"];

// What is in the numbers that the page carries.
function decode(text, Type) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Type(bytes.buffer);
}
for (const layer of data.layers) {
  layer.on = decode(layer.on, Uint8Array);
  layer.activations = decode(layer.activations, Float32Array);
  layer.runs.forEach((run, i) => {
    run.values = decode(run.values, run.bytes === 4 ? Float32Array : Float64Array);
    const next = layer.runs[i + 1];
    layer.units.slice(run.first, next && next.first).forEach((unit) => { unit.run = run; });
  });
  layer.units.forEach((unit, i) => { unit.index = i; unit.layer = layer; });
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)}%`);
const count = (number) => number.toLocaleString("en");
const short = (value) => String(Number(value.toPrecision(4)));
const className = (index) => (data.classes ? data.classes[index] : String(index));

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
function attributes(node, values) {
  for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
  return node;
}
const options = (select, entries) => select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));

// A rule on the example, or pair of an example and a position, in a row of its layer.
const valueOf = (run, literal, row) => run.values[row * run.inputs.length + literal[0]];
const holds = (run, literal, row) => (valueOf(run, literal, row) >= literal[2]) !== literal[1];
function check(unit, rule, row) {
  const number = rule.literals.filter((id) => holds(unit.run, unit.run.literals[id], row)).length;
  const says = number >= rule.m;
  const canTurn = rule.m > 0 && rule.m <= rule.literals.length;
  return { number, says, toTurn: canTurn ? Math.abs(number - rule.m) + (says ? 1 : 0) : null };
}
const isOn = (unit, row) => unit.layer.on[row * unit.layer.units.length + unit.index] === 1;
const activation = (unit, row) => unit.layer.activations[row * unit.layer.units.length + unit.index];
function body(unit, rule) {
  if (rule.m === 0) return "true: always on";
  if (rule.m > rule.literals.length) return "false: never on";
  const texts = rule.literals.map((id) => unit.run.literals[id][3]);
  return `${rule.m} of {${texts.join(", ")}}`;
}
function verdict(rule, checked) {
  const says = checked.says ? "on" : "off";
  if (checked.toTurn === null) return `${says}, always`;
  return `${says}: ${checked.number} of ${rule.literals.length} hold, ${rule.m} needed; it would turn if ` +
    `${checked.toTurn} more would ${checked.says ? "fail" : "hold"}`;
}
// Of a beta or length that was asked for there is a rule of every unit.
function ruleAt(unit, choice) {
  const wanted = choice === "readable" ? unit.layer.readable : choice;
  return unit.rules.findIndex((rule) => rule.choices.includes(wanted));
}
const rowAt = (layer, choice) =>
  layer.rows.find((row) => row.choice === (choice === "readable" ? layer.readable : choice));

// Tables that are sorted by a press on their heads.
function table(node, columns, rows, { current, sorted = {} }) {
  const order = [...rows];
  const column = columns.find((one) => one.head === sorted.head);
  if (column) {
    const key = (row) => column.value(row);
    order.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (sorted.down ? -1 : 1);
    });
  }
  const again = (head) => {
    table(node, columns, rows, { current, sorted: { head, down: sorted.head === head && !sorted.down } });
    node.querySelectorAll("th button").forEach((button) => { if (button.dataset.head === head) button.focus(); });
  };
  const heads = columns.map(({ head, number }) => {
    const button = element("button", { type: "button", textContent: head, onclick: () => again(head) });
    button.dataset.head = head;
    const isSorted = sorted.head === head;
    if (isSorted) button.append(sorted.down ? " ↓" : " ↑");
    const state = isSorted ? (sorted.down ? "descending" : "ascending") : "none";
    return attributes(element("th", { className: number ? "number" : "", scope: "col" }, button), { "aria-sort": state });
  });
  const lines = order.slice(0, MOST_ROWS).map((row) => {
    const line = element("tr", {}, ...columns.map(({ number, show, value }) =>
      element("td", { className: number ? "number" : "" }, show ? show(row) : String(value(row)))));
    if (current(row)) line.setAttribute("aria-current", "true");
    return line;
  });
  if (order.length > MOST_ROWS) {
    lines.push(element("tr", {}, attributes(element("td", {}, `${order.length - MOST_ROWS} more`), { colspan: columns.length })));
  }
  node.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines));
  node.sorted = sorted;
}
const numeric = (head, value, format) => ({ head, number: true, value, show: (row) => (value(row) === null ? "–" : format(value(row))) });

// Curves of error against complexity, whose axis is linear up to 0.01 and logarithmic from there.
const along = (complexity) => (complexity <= 0.01 ? complexity / 0.01 : 1 + Math.log10(complexity / 0.01)) / 3;
function chart(figure, curves, { label, base = null, mark = null }) {
  const [width, height, left, bottom] = [480, 260, 48, 40];
  const highest = Math.max(1e-9, base ?? 0, ...curves.flatMap((curve) => curve.points.map((point) => point[1])));
  const x = (value) => left + along(value) * (width - left - 12);
  const y = (value) => height - bottom - (value / highest) * (height - bottom - 12);
  const draw = (tag, values, text) => {
    const node = attributes(document.createElementNS("http://www.w3.org/2000/svg", tag), values);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  svg.append(draw("path", { class: "axis", d: `M${left} 12V${y(0)}H${width - 12}` }));
  for (const value of [0, 0.01, 0.1, 1]) svg.append(draw("text", { x: x(value), y: y(0) + 16, "text-anchor": "middle" }, value));
  for (const value of [0, highest / 2, highest]) svg.append(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, percent(value)));
  svg.append(draw("text", { x: (width + left) / 2, y: height - 6, "text-anchor": "middle" }, "complexity of the rule: short to long"));
  if (base !== null) svg.append(draw("path", { class: "base", d: `M${left} ${y(base)}H${width - 12}` }));
  for (const { points, color, heldOut } of curves) {
    const places = points.map(([complexity, error]) => [x(complexity), y(error)]);
    svg.append(draw("path", { d: `M${places.map((place) => place.join(" ")).join("L")}`, fill: "none", stroke: color, "stroke-width": 2, "stroke-dasharray": heldOut ? "6 4" : "none" }));
    places.forEach(([cx, cy]) => svg.append(draw("circle", { cx, cy, r: 3, fill: color })));
  }
  if (mark) svg.append(draw("circle", { cx: x(mark[0]), cy: y(mark[1]), r: 8, fill: "none", stroke: "currentColor", "stroke-width": 2 }));
  const key = element("figcaption", { className: "key" }, ...curves.map(({ name, color, heldOut }) => {
    const entry = element("span", { textContent: name, className: heldOut ? "held-out" : "" });
    entry.style.setProperty("--color", color);
    return entry;
  }));
  figure.replaceChildren(svg, key);
}

// Pictures lie side by side in one; a frame is the patch that a unit reads, in shares of a picture.
const sprite = data.pictures;
if (sprite) document.documentElement.style.setProperty("--sprite", `url(data:image/png;base64,${sprite.png})`);
function frameOf(unit, row) {
  const { frames, places, each_its_own_place: own } = unit.layer;
  return frames && frames[places[own ? unit.index : row]];
}
function picture(example, frame, size = 56) {
  const scale = size / sprite.width;
  const node = element("span", { className: "picture" });
  const column = example % sprite.columns, line = Math.floor(example / sprite.columns);
  Object.assign(node.style, {
    width: `${size}px`, height: `${sprite.height * scale}px`, backgroundImage: "var(--sprite)",
    backgroundSize: `${sprite.columns * size}px`, backgroundPosition: `${-column * size}px ${-line * sprite.height * scale}px`,
  });
  if (frame) {
    const [x, y, width, height] = frame.map((share) => `${100 * share}%`);
    node.append(Object.assign(element("i"), {}));
    Object.assign(node.lastChild.style, { left: x, top: y, width, height });
  }
  return node;
}
// The patch alone, grown; what lies outside of the picture is gray.
function patch(example, [x, y, width, height], size = 56) {
  const scale = size / (width * sprite.width);
  const node = element("span", { className: "picture" });
  const column = example % sprite.columns, line = Math.floor(example / sprite.columns);
  const inner = element("span", { className: "picture" });
  Object.assign(node.style, { width: `${size}px`, height: `${height * sprite.height * scale}px` });
  Object.assign(inner.style, {
    position: "absolute", left: `${-x * sprite.width * scale}px`, top: `${-y * sprite.height * scale}px`,
    width: `${sprite.width * scale}px`, height: `${sprite.height * scale}px`, backgroundImage: "var(--sprite)",
    backgroundSize: `${sprite.columns * sprite.width * scale}px`,
    backgroundPosition: `${-column * sprite.width * scale}px ${-line * sprite.height * scale}px`,
  });
  node.append(inner);
  return node;
}
function exampleName(example) {
  return `example ${example}` + (data.predictions ? `, network says ${className(data.predictions[example])}` : "");
}
// An example, or the place in it, as a button that chooses it or, as a part of something else, not.
function shown(unit, row, text, choose) {
  const example = unit.layer.examples[row];
  const frame = frameOf(unit, row);
  const node = element(choose ? "button" : "span", choose ? { type: "button", onclick: () => choose(row) } : { className: "one" });
  if (sprite) {
    const pair = element("span", { className: "pair" }, picture(example, frame));
    if (frame && unit.layer.kind === "conv") pair.append(patch(example, frame));
    node.append(pair);
  } else {
    node.append(`example ${example}`, element("br"));
  }
  node.append(text);
  attributes(node, { title: exampleName(example), "aria-label": `${exampleName(example)}: ${text}` });
  if (choose) node.setAttribute("aria-pressed", String(row === state.row));
  else node.setAttribute("role", "img");
  return node;
}
// The rows of largest value, of each example one.
function largest(layer, value, most) {
  const seen = new Set();
  return layer.examples.map((_, row) => row).sort((a, b) => value(b) - value(a))
    .filter((row) => !seen.has(layer.examples[row]) && seen.add(layer.examples[row])).slice(0, most);
}

const state = { choice: "readable", unit: null, rule: 0, row: null, example: null, examplesShown: EXAMPLES_AT_ONCE };
// From the network's answers inwards.
const units = [...data.layers].reverse().flatMap((layer) => layer.units);

function showLayers() {
  const rows = data.layers.map((layer) => ({ foundOn: layer.found_on, ...rowAt(layer, state.choice) }));
  const columns = [
    { head: "layer", value: (row) => row.layer },
    { head: "kind", value: (row) => row.kind },
    numeric("inputs", (row) => row.inputs, count),
    numeric("units", (row) => row.units, count),
    numeric("constant", (row) => row.constant_units, String),
    numeric("found on", (row) => row.foundOn, count),
    { head: "rules chosen", value: (row) => row.choice },
    numeric("literals", (row) => row.literals, (value) => value.toFixed(1)),
    numeric("error", (row) => row.error, percent),
    numeric("held-out error", (row) => row.held_out_error, percent),
    numeric("constant rule", (row) => row.baseline_error, percent),
    numeric("skill", (row) => row.skill, (value) => value.toFixed(2)),
    numeric("complexity", (row) => row.complexity, (value) => value.toFixed(3)),
    numeric("≤ 1%", (row) => row.within_1_percent, percent),
    numeric("≤ 5%", (row) => row.within_5_percent, percent),
    numeric("none on", (row) => row.none_on, percent),
    numeric("several on", (row) => row.several_on, percent),
    numeric("proven", (row) => row.proven_literals || null, (value) => `${value} literals`),
  ].filter((column) => rows.some((row) => column.value(row) !== null));
  table(at("layer-table"), columns, rows, { current: () => false, sorted: at("layer-table").sorted });
  const notes = data.layers.filter((layer) => layer.note || layer.all_units > layer.units.length).map((layer) => {
    const more = layer.all_units > layer.units.length
      ? `its first ${layer.units.length} of ${layer.all_units} units are on this page, all of them in rules.json. ` : "";
    return element("p", { className: "small", textContent: `${layer.name}: ${more}${layer.note}` });
  });
  at("notes").replaceChildren(...notes);
  const curves = data.layers.flatMap((layer, i) => {
    const points = layer.rows.filter((row) => row.error !== null).sort((a, b) => a.complexity - b.complexity);
    const color = COLORS[i % COLORS.length];
    const heldOut = points.filter((row) => row.held_out_error !== null);
    return [
      { name: layer.name, color, points: points.map((row) => [row.complexity, row.error]) },
      { name: `${layer.name}, held out`, color, heldOut: true, points: heldOut.map((row) => [row.complexity, row.held_out_error]) },
    ].filter((curve) => curve.points.length);
  });
  if (curves.length) chart(at("landscape"), curves, { label: "Mean error of each layer's rules against their mean complexity; the numbers are in the table above" });
}

function showUnits() {
  const layer = at("layer").value, words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = units.filter((unit) => !layer || unit.layer.name === layer).map((unit) => ({ unit, rule: unit.rules[ruleAt(unit, state.choice)] }))
    .filter(({ unit, rule }) => {
      const text = `${unit.title} ${body(unit, rule)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  at("found").textContent = `${rows.length} of ${units.length} units`;
  const columns = [
    { head: "unit", value: ({ unit }) => unit.index, show: ({ unit }) => element("button", { type: "button", textContent: unit.name, onclick: () => { choose(unit); at("unit-title").focus(); } }) },
    { head: "layer", value: ({ unit }) => unit.layer.name },
    numeric("held-out error", ({ rule }) => rule.held_out, percent),
    numeric("at most", ({ rule }) => rule.bound, percent),
    numeric("error", ({ rule }) => rule.error, percent),
    numeric("constant rule", ({ rule }) => rule.baseline, percent),
    numeric("on", ({ unit }) => unit.on, percent),
    numeric("M", ({ rule }) => rule.m, String),
    numeric("N", ({ rule }) => rule.literals.length, String),
    numeric("complexity", ({ rule }) => rule.complexity, (value) => value.toFixed(3)),
  ].filter((column) => !rows.length || rows.some((row) => column.value(row) !== null));
  table(at("unit-table"), columns, rows, { current: ({ unit }) => unit === state.unit, sorted: at("unit-table").sorted });
}

function choose(unit) {
  const kept = state.row !== null && state.unit.layer === unit.layer;
  Object.assign(state, { unit, rule: ruleAt(unit, state.choice), row: kept ? state.row : null });
  history.replaceState(null, "", `#${encodeURIComponent(unit.layer.name)}:${unit.index}`);
  showUnits();
  showUnit();
}

function showUnit() {
  const { unit } = state;
  const { layer } = unit;
  at("unit-title").textContent = unit.title;
  at("unit-about").textContent = `It is on for ${percent(unit.on)} of the ${count(layer.found_on)} ${layer.found_on_what} on which its rules were found` +
    `${unit.on === 0 || unit.on === 1 ? ": a constant unit, there is nothing to explain" : ""}.`;
  Object.assign(at("rule"), { max: unit.rules.length - 1, value: state.rule });
  const place = units.indexOf(unit);
  at("before").disabled = place === 0;
  at("after").disabled = place === units.length - 1;
  showRule();
}

function showRule() {
  const { unit, row } = state;
  const { layer, run } = unit;
  const rule = unit.rules[state.rule];
  const isLong = rule.literals.length > MOST_LITERALS && rule.m > 0 && rule.m <= rule.literals.length;
  const says = isLong ? `${rule.m} of the ${rule.literals.length} literals below` : body(unit, rule);
  at("rule-text").textContent = `${unit.name} <=> ${says}`;
  const truth = rule.held_out === null ? `error ${percent(rule.error)}` : `held-out error ${percent(rule.held_out)}`;
  at("rule").setAttribute("aria-valuetext", `rule ${state.rule + 1} of ${unit.rules.length}: ${rule.m} of ${rule.literals.length} literals, ${truth}`);
  const measures = [
    ["chosen by", rule.chosen],
    ["literals", `${rule.m} of ${rule.literals.length} needed`],
    ["error", percent(rule.error)],
    ...(rule.held_out === null ? [] : [["held-out error", percent(rule.held_out)], ["at most", percent(rule.bound)]]),
    ["constant rule", percent(rule.baseline)],
    ["complexity", rule.complexity.toFixed(3)],
  ];
  at("measures").replaceChildren(...measures.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));
  const line = [...unit.rules].sort((a, b) => a.complexity - b.complexity);
  const curves = [{ name: "error", color: COLORS[0], points: line.map((one) => [one.complexity, one.error]) }];
  if (rule.held_out !== null) curves.push({ name: "held-out error", color: COLORS[1], heldOut: true, points: line.map((one) => [one.complexity, one.held_out]) });
  chart(at("rule-chart"), curves, { label: "Error of the unit's rules against their complexity", base: rule.baseline, mark: [rule.complexity, rule.held_out ?? rule.error] });

  at("chosen-example").textContent = row === null ? "Choose an example below to see which literals hold on it."
    : `${exampleName(layer.examples[row])}: the rule says ${verdict(rule, check(unit, rule, row))}. The unit is ${isOn(unit, row) ? "on" : "off"}.`;
  const rows = layer.examples.map((_, i) => i);
  at("literals-about").textContent = rule.literals.length === 0 ? "It has none."
    : sprite ? "Beside each, the examples on which its input is largest. A literal with < holds where its input is not excited as there." : "";
  at("literals").replaceChildren(...rule.literals.map((id) => {
    const literal = run.literals[id];
    const [name, offset, scale] = run.inputs[literal[0]];
    const value = (i) => valueOf(run, literal, i);
    const display = (i) => short(offset + scale * value(i));
    const share = rows.filter((i) => holds(run, literal, i)).length / rows.length;
    const item = element("li", {}, element("div", {}, element("strong", { textContent: literal[3] }), ` holds on ${percent(share)} of the ${rows.length} shown`));
    if (row !== null) {
      const does = holds(run, literal, row);
      item.firstChild.append("; here it is ", display(row), ": ", element("span", { className: does ? "holds" : "fails", textContent: does ? "holds" : "fails" }));
    }
    if (sprite) item.append(element("div", { className: "strip" }, ...largest(layer, value, MOST_PICTURES).map((i) => shown(unit, i, display(i)))));
    return item;
  }));

  const pick = (i) => { state.row = state.row === i ? null : i; showRule(); at("chosen-example").scrollIntoView({ block: "nearest" }); };
  const answer = (i) => (data.predictions ? `${className(data.predictions[layer.examples[i]])}: ` : "");
  const counted = (i) => `${answer(i)}${check(unit, rule, i).number} of ${rule.literals.length} hold`;
  const strips = [
    ["Examples that excite it most", largest(layer, (i) => activation(unit, i), MOST_PICTURES), (i) => `${answer(i)}${short(activation(unit, i))}`],
    ["Wrong: the rule says on, the unit is off", rows.filter((i) => check(unit, rule, i).says && !isOn(unit, i)), counted],
    ["Wrong: the rule says off, the unit is on", rows.filter((i) => !check(unit, rule, i).says && isOn(unit, i)), counted],
  ];
  at("strips").replaceChildren(...strips.flatMap(([head, found, caption], number) => {
    const most = found.slice(0, 2 * MOST_PICTURES);
    const count = number ? ` (${found.length} of ${rows.length} shown)` : "";
    const strip = element("div", { className: "strip" }, ...most.map((i) => shown(unit, i, caption(i), pick)));
    if (found.length > most.length) strip.append(`and ${found.length - most.length} more`);
    return [element("h4", { textContent: head + count }), found.length ? strip : element("p", { className: "small", textContent: "None of those shown." })];
  }));
}

// The answers that the rules of the classes allow.
const softmax = data.layers.find((layer) => layer.kind === "softmax" && data.predictions && !layer.frames);
function showExamples() {
  if (!softmax) {
    at("examples-about").textContent = "There is no softmax layer on this page. Choose an example of a unit above to see why its rule says what it says.";
    at("more-examples").hidden = true;
    return;
  }
  at("examples-about").textContent = "Under each example: the network's answer, and the classes whose rules say on. Choose one to see why. Each rule knows its class only: where none says on, or several do, they leave the answer open.";
  const rules = softmax.units.map((unit) => [unit, unit.rules[ruleAt(unit, state.choice)]]);
  const saying = (row) => rules.filter(([unit, rule]) => check(unit, rule, row).says).map(([unit]) => unit.name);
  const select = (row) => { state.example = row; showExamples(); };
  const buttons = softmax.examples.slice(0, state.examplesShown).map((example, row) => {
    const button = shown(softmax.units[0], row, `${className(data.predictions[example])}; rules: ${saying(row).join(", ") || "none"}`, select);
    button.setAttribute("aria-pressed", String(row === state.example));
    return button;
  });
  const focused = [...at("example-strip").children].indexOf(document.activeElement);
  at("example-strip").replaceChildren(...buttons);
  if (focused >= 0) buttons[focused].focus();
  at("more-examples").hidden = state.examplesShown >= softmax.examples.length;
  if (state.example === null) return;
  const row = state.example, said = saying(row);
  const conclusion = said.length === 1 ? `The rules say ${said[0]}.` : said.length ? `Several rules say on: ${said.join(", ")}. They leave the answer open.` : "No rule says on: they leave the answer open.";
  const lines = rules.map(([unit, rule]) => {
    const checked = check(unit, rule, row);
    const literals = rule.literals.map((id) => {
      const literal = unit.run.literals[id];
      const [, offset, scale] = unit.run.inputs[literal[0]];
      const does = holds(unit.run, literal, row);
      return element("li", {}, `${literal[3]}: it is ${short(offset + scale * valueOf(unit.run, literal, row))}, `, element("span", { className: does ? "holds" : "fails", textContent: does ? "holds" : "fails" }));
    });
    return element("details", { open: checked.says }, element("summary", {}, element("strong", { textContent: unit.name }), `: ${verdict(rule, checked)}`), element("ul", {}, ...literals));
  });
  at("why").replaceChildren(element("p", {}, element("strong", { textContent: `${exampleName(softmax.examples[row])}. ` }), conclusion), ...lines);
}

function chooseRules() {
  state.choice = at("choice").value;
  showLayers();
  state.rule = ruleAt(state.unit, state.choice);
  showUnits();
  showUnit();
  showExamples();
}
const step = (by) => choose(units[units.indexOf(state.unit) + by]);

options(at("choice"), [["readable", "to read: the simplest that cost less than 1% of error"], ...data.layers[0].rows.map((row) => [row.choice, row.choice])]);
options(at("layer"), [["", "all"], ...[...data.layers].reverse().map((layer) => [layer.name, layer.name])]);
at("choice").onchange = chooseRules;
at("layer").onchange = showUnits;
at("search").oninput = showUnits;
at("search").form.onsubmit = (event) => event.preventDefault();
at("rule").oninput = () => { state.rule = Number(at("rule").value); showRule(); };
at("before").onclick = () => step(-1);
at("after").onclick = () => step(1);
at("more-examples").onclick = () => { state.examplesShown += 4 * EXAMPLES_AT_ONCE; showExamples(); };

const [layerName, index] = decodeURIComponent(location.hash.slice(1)).split(/:(?=\d+$)/);
const linked = units.find((unit) => unit.layer.name === layerName && unit.index === Number(index));
state.unit = linked ?? (softmax ? softmax.units : units)[0];
state.rule = ruleAt(state.unit, state.choice);
showLayers();
showUnits();
showUnit();
showExamples();
