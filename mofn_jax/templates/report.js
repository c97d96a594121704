"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const MOST_ROWS = 500, MOST_LITERALS = 10, MOST_PICTURES = 8, EXAMPLES_AT_ONCE = 24;
const COLORS = ["#3b82c4", "#d9822b", "#3f9b52", "#c94f4f", "#8e6bbf", "#9a6a53", "#cf6fae", "#9a9a2e", "#27a5b0"];

// What is in the numbers that the page carries. An example's place is a row of each layer.
function decode(text, Type) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Type(bytes.buffer);
}
const numbers = ({ packed, bytes }) => decode(packed, bytes === 4 ? Float32Array : Float64Array);
// Literals: [column of the input, whether negated, threshold, as it is shown].
function unpack(run) {
  const round = run.values.bytes === 4 ? Math.fround : (number) => number;
  run.values = numbers(run.values);
  run.literals = run.literals.map(([column, negated, threshold, shown]) =>
    [column, negated === 1, round(threshold), `${run.inputs[column][0]} ${negated ? "<" : ">="} ${shown}`]);
}
for (const layer of data.layers) {
  layer.on = decode(layer.on, Uint8Array);
  layer.activations = numbers(layer.activations);
  layer.units.forEach((unit, index) => Object.assign(unit, { index, layer }));
  layer.runs.forEach((run, i) => {
    unpack(run);
    const next = layer.runs[i + 1];
    for (const unit of layer.units.slice(run.first, next && next.first)) unit.run = run;
  });
}
for (const { run, units } of data.answers) {
  unpack(run);
  for (const unit of units) Object.assign(unit, { run, rule: unit.rules[0] });
}
const examples = data.numbers.map((_, example) => example);
// From the network's answers inwards.
const layers = [...data.layers].reverse();
const units = layers.flatMap((layer) => layer.units);
// The answers that the rules of the classes allow; of tokens each has its own.
const softmax = layers.find((layer) => layer.kind === "softmax" && data.predictions && !layer.positions);
const state = { choice: "readable", unit: null, rule: 0, from: null, example: null, examplesShown: EXAMPLES_AT_ONCE, listed: [] };

const percent = (share, digits = 1) => (share === null ? "–" : `${(100 * share).toFixed(digits)}%`);
const count = (number) => number.toLocaleString("en");
const short = (value) => String(Number(value.toPrecision(4)));
const className = (index) => (data.classes && index in data.classes ? data.classes[index] : String(index));

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

// A rule on an example.
const valueOf = (run, literal, example) => run.values[example * run.inputs.length + literal[0]];
const holds = (run, literal, example) => (valueOf(run, literal, example) >= literal[2]) !== literal[1];
function displayed(run, literal, example) {
  const [, offset, scale] = run.inputs[literal[0]];
  return short(offset + scale * valueOf(run, literal, example));
}
// Of no errors at all of the constant rule there is nothing to better.
const skill = (rule) => (rule.baseline ? 1 - (rule.held_out ?? rule.error) / rule.baseline : null);
const isConstantRule = (rule) => rule.m === 0 || rule.m > rule.literals.length;
function check(unit, rule, example) {
  const number = rule.literals.filter((id) => holds(unit.run, unit.run.literals[id], example)).length;
  const says = number >= rule.m;
  return { number, says, toTurn: isConstantRule(rule) ? null : Math.abs(number - rule.m) + (says ? 1 : 0) };
}
const isOn = (unit, example) => unit.layer.on[example * unit.layer.units.length + unit.index] === 1;
const activation = (unit, example) => unit.layer.activations[example * unit.layer.units.length + unit.index];
const isConstant = (unit) => unit.on === 0 || unit.on === 1;
function body(unit, rule) {
  if (rule.m === 0) return "true: always on";
  if (rule.m > rule.literals.length) return "false: never on";
  return `${rule.m} of {${rule.literals.map((id) => unit.run.literals[id][3]).join(", ")}}`;
}
function verdict(rule, { number, says, toTurn }) {
  if (toTurn === null) return says ? "on, always" : "off, always";
  return `${says ? "on" : "off"}: ${number} of ${rule.literals.length} hold, ${rule.m} needed; it would turn if ` +
    (says ? `${toTurn} of those failed` : `${toTurn} more held`);
}
// Of a beta or length that was asked for there is a rule of every unit.
function ruleAt(unit, choice) {
  const wanted = choice === "readable" ? unit.layer.readable : choice;
  return unit.rules.findIndex((rule) => rule.choices.includes(wanted));
}
const rowAt = (layer, choice) =>
  layer.rows.find((row) => row.choice === (choice === "readable" ? layer.readable : choice));
// The unit that a literal's input is, alone or pooled: conv_0[3][-1, +2] is unit 3 of conv_0.
function unitOfInput(name) {
  const [, place, index] = name.match(/^(?:pooled )?(.*?)\[(\d+)\]/) ?? [];
  const layer = data.layers.find((one) => one.name === place);
  return layer && layer.units[Number(index)];
}

// Tables that are sorted by a press on their heads; what is nothing comes last.
function table(node, columns, rows, { current = () => false, listed = () => {} } = {}) {
  const { head: by, down } = node.sorted ?? {};
  const column = columns.find((one) => one.head === by);
  const order = [...rows];
  if (column) {
    order.sort((a, b) => {
      const [x, y] = [column.value(a), column.value(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    });
  }
  const sort = (head) => {
    node.sorted = { head, down: by === head && !down };
    table(node, columns, rows, { current, listed });
    node.querySelectorAll("th button").forEach((button) => { if (button.dataset.head === head) button.focus(); });
  };
  const heads = columns.map(({ head, number }) => {
    const button = element("button", { type: "button", textContent: head, onclick: () => sort(head) });
    button.dataset.head = head;
    if (by === head) button.append(down ? " ↓" : " ↑");
    const state = by === head ? (down ? "descending" : "ascending") : "none";
    return attributes(element("th", { className: number ? "number" : "", scope: "col" }, button), { "aria-sort": state });
  });
  const lines = order.slice(0, MOST_ROWS).map((row) => {
    const line = element("tr", {}, ...columns.map(({ number, show, value }) =>
      element("td", { className: number ? "number" : "" }, show ? show(row) : String(value(row)))));
    if (current(row)) line.setAttribute("aria-current", "true");
    return line;
  });
  if (order.length > MOST_ROWS) {
    lines.push(element("tr", {}, attributes(element("td", {}, `${order.length - MOST_ROWS} more: search, or choose a layer`), { colspan: columns.length })));
  }
  node.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines));
  listed(order);
}
const numeric = (head, value, format) => ({ head, number: true, value, show: (row) => (value(row) === null ? "–" : format(value(row))) });

// Curves of error against complexity, whose axis is linear up to 0.01 and logarithmic from there.
const along = (complexity) => (complexity <= 0.01 ? complexity / 0.01 : 1 + Math.log10(complexity / 0.01)) / 3;
function chart(figure, curves, { label, base = null, mark = null }) {
  const [width, height, left, top, bottom] = [480, 270, 48, 24, 40];
  const highest = Math.max(1e-9, base ?? 0, ...curves.flatMap((curve) => curve.points.map((point) => point[1])));
  const x = (value) => left + along(value) * (width - left - 12);
  const y = (value) => height - bottom - (value / highest) * (height - bottom - top);
  const draw = (tag, values, text) => {
    const node = attributes(document.createElementNS("http://www.w3.org/2000/svg", tag), values);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  svg.append(draw("path", { class: "axis", d: `M${left} ${top}V${y(0)}H${width - 12}` }));
  svg.append(draw("text", { x: 4, y: 12 }, "error"));
  for (const value of [0, 0.01, 0.1, 1]) svg.append(draw("text", { x: x(value), y: y(0) + 16, "text-anchor": "middle" }, value));
  for (const value of [0, highest / 2, highest]) svg.append(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, percent(value, highest < 0.01 ? 3 : 1)));
  svg.append(draw("text", { x: (width + left) / 2, y: height - 6, "text-anchor": "middle" }, "complexity: short to long rules"));
  if (base !== null) {
    svg.append(draw("path", { class: "base", d: `M${left} ${y(base)}H${width - 12}` }));
    svg.append(draw("text", { x: width - 12, y: y(base) - 4, "text-anchor": "end" }, "constant rule"));
  }
  for (const { name, points, color, heldOut } of curves) {
    const places = points.map(([complexity, error]) => [x(complexity), y(error)]);
    svg.append(draw("path", { d: `M${places.map((place) => place.join(" ")).join("L")}`, fill: "none", stroke: color, "stroke-width": 2, "stroke-dasharray": heldOut ? "6 4" : "none" }));
    places.forEach(([cx, cy], i) => {
      const point = draw("circle", { cx, cy, r: 3, fill: color });
      point.append(draw("title", {}, `${name}: ${percent(points[i][1])} at complexity ${points[i][0].toFixed(3)}`));
      svg.append(point);
    });
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
if (sprite) {
  const png = new Blob([decode(sprite.png, Uint8Array)], { type: "image/png" });
  document.documentElement.style.setProperty("--sprite", `url(${URL.createObjectURL(png)})`);
}
function frameOf(unit, example) {
  const { frames, positions, every_position: every } = unit.layer;
  return frames && frames[positions[every ? example : unit.index]];
}
function pictureOf(example, width) {
  const scale = width / sprite.width;
  const column = example % sprite.columns, line = Math.floor(example / sprite.columns);
  const node = element("span", { className: "picture" });
  Object.assign(node.style, {
    width: `${width}px`, height: `${sprite.height * scale}px`, backgroundImage: "var(--sprite)",
    backgroundSize: `${sprite.columns * width}px`, backgroundPosition: `${-column * width}px ${-line * sprite.height * scale}px`,
  });
  return node;
}
function framed(example, frame, width = 56) {
  const node = pictureOf(example, width);
  if (frame) {
    const mark = element("i");
    const [left, top, wide, high] = frame.map((share) => `${100 * share}%`);
    Object.assign(mark.style, { left, top, width: wide, height: high });
    node.append(mark);
  }
  return node;
}
// The patch alone, grown; what lies outside of the picture is gray.
function patch(example, [left, top, wide, high], width = 56) {
  const whole = width / wide;
  const height = (whole * sprite.height) / sprite.width;
  const node = element("span", { className: "picture" }, pictureOf(example, whole));
  Object.assign(node.style, { width: `${width}px`, height: `${high * height}px` });
  Object.assign(node.firstChild.style, { position: "absolute", left: `${-left * whole}px`, top: `${-top * height}px` });
  return node;
}
function exampleName(example) {
  const parts = [`example ${data.numbers[example]}`];
  if (data.predictions) parts.push(`network says ${className(data.predictions[example])}`);
  if (data.labels && data.predictions && data.labels[example] !== data.predictions[example]) parts.push(`it is ${className(data.labels[example])}`);
  return parts.join(", ");
}
// An example as a unit sees it: a button that chooses it or, as a part of something else, a picture.
function shown(unit, example, text, choose) {
  const node = element(choose ? "button" : "span", choose ? { type: "button", onclick: () => choose(example) } : { className: "one" });
  if (sprite) {
    const frame = frameOf(unit, example);
    const pair = element("span", { className: "pair" }, framed(example, frame));
    if (frame && unit.layer.kind === "conv") pair.append(patch(example, frame));
    node.append(pair);
  } else {
    const { positions, every_position: every } = unit.layer;
    const place = positions ? `, place ${positions[every ? example : unit.index]}` : "";
    node.append(`example ${data.numbers[example]}${place}`, element("br"));
  }
  node.append(text);
  attributes(node, { title: exampleName(example), "aria-label": `${exampleName(example)}; ${text}` });
  if (choose) attributes(node, { "data-example": example, "aria-pressed": example === state.example });
  else node.setAttribute("role", "img");
  return node;
}
// Fills a place anew, where a chosen example stays in focus.
function refill(node, ...children) {
  const focused = node.contains(document.activeElement) ? document.activeElement.dataset.example : undefined;
  node.replaceChildren(...children);
  if (focused !== undefined) node.querySelector(`[data-example="${focused}"]`)?.focus();
}
// A literal, with a way to the unit that it is about.
function literalText(literal, run) {
  const [name] = run.inputs[literal[0]];
  const about = unitOfInput(name);
  const text = element("strong", { textContent: literal[3] });
  if (!about) return text;
  return element("button", { type: "button", className: "link", title: `open ${about.title}`, onclick: () => follow(literal, about) }, text);
}
function onExample(run, literal, example) {
  const does = holds(run, literal, example);
  return [`it is ${displayed(run, literal, example)}, `, element("span", { className: does ? "holds" : "fails", textContent: does ? "holds" : "fails" })];
}

function showLayers() {
  const rows = data.layers.map((layer) => ({ foundOn: layer.found_on, ...rowAt(layer, state.choice) }));
  const columns = [
    { head: "layer", value: (row) => row.layer },
    numeric("held-out error", (row) => row.held_out_error, percent),
    numeric("constant rule", (row) => row.baseline_error, percent),
    numeric("skill", (row) => row.skill, (value) => value.toFixed(2)),
    numeric("none on", (row) => row.none_on, percent),
    numeric("several on", (row) => row.several_on, percent),
    numeric("≤ 1%", (row) => row.within_1_percent, percent),
    numeric("≤ 5%", (row) => row.within_5_percent, percent),
    numeric("literals", (row) => row.literals, (value) => value.toFixed(1)),
    { head: "rules chosen", value: (row) => row.chosen },
    numeric("complexity", (row) => row.complexity, (value) => value.toFixed(3)),
    numeric("error", (row) => row.error, percent),
    { head: "kind", value: (row) => row.kind },
    numeric("inputs", (row) => row.inputs, count),
    numeric("units", (row) => row.units, count),
    numeric("constant", (row) => row.constant_units, count),
    numeric("found on", (row) => row.foundOn, count),
    numeric("proven", (row) => row.proven_literals || null, (value) => `${value} literals`),
  ].filter((column) => rows.some((row) => column.value(row) !== null));
  table(at("layer-table"), columns, rows);
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
  const layer = at("layer").value, words = at("search").value.trim().toLowerCase();
  const rows = units.filter((unit) => !layer || unit.layer.name === layer)
    .map((unit) => ({ unit, rule: unit.rules[ruleAt(unit, state.choice)] }))
    .filter(({ unit, rule }) => `${unit.layer.name} ${unit.name}\n${unit.title}\n${body(unit, rule)}`.toLowerCase().includes(words));
  at("found").textContent = `${rows.length} of ${units.length} units`;
  // Of a constant unit there is nothing to explain.
  const measure = (head, value, format) => numeric(head, ({ unit, rule }) => (isConstant(unit) ? null : value(rule)), format);
  const columns = [
    { head: "unit", value: ({ unit }) => unit.index, show: ({ unit }) => element("button", { type: "button", textContent: unit.name, tabIndex: -1 }) },
    { head: "layer", value: ({ unit }) => unit.layer.name },
    measure("held-out error", (rule) => rule.held_out, percent),
    measure("at most", (rule) => rule.bound, percent),
    measure("constant rule", (rule) => rule.baseline, percent),
    measure("skill", skill, (value) => value.toFixed(2)),
    measure("M", (rule) => rule.m, String),
    measure("N", (rule) => rule.literals.length, String),
    measure("complexity", (rule) => rule.complexity, (value) => value.toFixed(3)),
    measure("error", (rule) => rule.error, percent),
    numeric("on", ({ unit }) => unit.on, percent),
  ].filter((column) => !rows.length || rows.some((row) => column.value(row) !== null));
  table(at("unit-table"), columns, rows, {
    current: ({ unit }) => unit === state.unit,
    listed: (order) => { state.listed = order.map(({ unit }) => unit); showPlace(); },
  });
}
// Of the units in the table one is reached by Tab, the others from there by arrows.
function showPlace() {
  const body = at("unit-table").tBodies[0], box = body.closest(".wide");
  const line = body.querySelector("[aria-current]") ?? body.rows[0];
  if (line) {
    line.querySelector("button").tabIndex = 0;
    const isAbove = line.offsetTop < box.scrollTop + 40, end = line.offsetTop + line.offsetHeight;
    if (isAbove || end > box.scrollTop + box.clientHeight) box.scrollTop = line.offsetTop - 80;
  }
  const place = state.listed.indexOf(state.unit);
  at("before").ariaDisabled = place <= 0;
  at("after").ariaDisabled = place < 0 ? !state.listed.length : place === state.listed.length - 1;
}

function choose(unit, { from = null, isBack = false } = {}) {
  Object.assign(state, { unit, rule: ruleAt(unit, state.choice), from });
  const address = `#${encodeURIComponent(unit.layer.name)}:${unit.index}`;
  try {
    if (from) history.pushState(null, "", address);
    else if (!isBack) history.replaceState(null, "", address);
  } catch { /* within another page, such as a notebook, there is no address */ }
  showUnits();
  showUnit();
}
// From a literal to the unit that its input is; back by the browser's own button or the page's.
function follow(literal, about) {
  choose(about, { from: { literal, unit: state.unit } });
  at("unit-title").focus();
}
function chooseExample(example) {
  state.example = example === state.example ? null : example;
  showRule();
  showExamples();
}

function showUnit() {
  const { unit } = state;
  const { layer } = unit;
  at("unit-title").textContent = unit.title;
  const what = layer.every_position ? "pairs of an example and a position" : "examples";
  at("unit-about").textContent = isConstant(unit)
    ? `It is always ${unit.on ? "on" : "off"}: a constant unit, there is nothing to explain.`
    : `It is on for ${percent(unit.on)} of the ${count(layer.found_on)} ${what} on which its rules were found.` +
      (layer.every_position ? " Below, each example is looked at in one place of its own, drawn at random." : "") +
      (layer.every_position && sprite ? " The frame, and beside it what it holds: the patch that the unit reads there." : "");
  at("unit-from").replaceChildren();
  if (state.from) {
    const { literal, unit: before } = state.from;
    const back = element("button", { type: "button", textContent: `← ${before.title}`, onclick: () => { choose(before); at("unit-title").focus(); } });
    at("unit-from").append(back, ` Opened from its literal ${literal[3]}. The rules here are about the threshold from which on the unit counts as on, ` +
      "and of a filter about any place: they say what it has learned, not whether that literal holds.");
  }
  Object.assign(at("rule"), { max: unit.rules.length - 1, value: state.rule });
  showRule();
}

function showRule() {
  const { unit, example } = state;
  const { layer, run } = unit;
  const rule = unit.rules[state.rule];
  const isLong = rule.literals.length > MOST_LITERALS && !isConstantRule(rule);
  const says = isLong ? `${rule.m} of the ${rule.literals.length} literals below` : body(unit, rule);
  at("rule-text").textContent = `${unit.name} <=> ${says}`;
  const truth = rule.held_out === null ? `error ${percent(rule.error)}` : `held-out error ${percent(rule.held_out)}`;
  at("rule").setAttribute("aria-valuetext", `rule ${state.rule + 1} of ${unit.rules.length}: ${rule.m} of ${rule.literals.length} literals, ${truth}`);
  const measures = [
    ["chosen by", rule.chosen],
    ["literals", isConstantRule(rule) ? "none" : `${rule.m} of ${rule.literals.length} needed`],
    ["error", percent(rule.error)],
    ...(rule.held_out === null ? [] : [["held-out error", percent(rule.held_out)], ["at most (95%)", percent(rule.bound)]]),
    ["constant rule", percent(rule.baseline)],
    ["skill", skill(rule) === null ? "–" : skill(rule).toFixed(2)],
    ["complexity", rule.complexity.toFixed(3)],
  ];
  at("measures").replaceChildren(...measures.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));
  at("rule-chart").hidden = isConstant(unit);
  const line = [...unit.rules].sort((a, b) => a.complexity - b.complexity);
  const curves = [{ name: "error", color: COLORS[0], points: line.map((one) => [one.complexity, one.error]) }];
  if (rule.held_out !== null) curves.push({ name: "held-out error", color: COLORS[1], heldOut: true, points: line.map((one) => [one.complexity, one.held_out]) });
  chart(at("rule-chart"), curves, { label: "Error of the unit's rules against their complexity", base: rule.baseline, mark: [rule.complexity, rule.held_out ?? rule.error] });

  at("chosen-example").textContent = example === null ? "Choose an example to see which literals hold on it."
    : `${exampleName(example)}: the rule says ${verdict(rule, check(unit, rule, example))}. The unit is ${isOn(unit, example) ? "on" : "off"}.`;
  const answer = (i) => (data.predictions ? `${className(data.predictions[i])}; ` : "");
  const counted = (i) => `${answer(i)}${check(unit, rule, i).number} of ${rule.literals.length} hold`;
  const all = layer.every_position ? `${examples.length} places, one of each example` : `the ${examples.length} examples`;
  const strips = [
    ["Most excited by", largest((i) => activation(unit, i)), (i) => `${answer(i)}${short(activation(unit, i))}`],
    ["Wrong: the rule says on, the unit is off", examples.filter((i) => check(unit, rule, i).says && !isOn(unit, i)), counted],
    ["Wrong: the rule says off, the unit is on", examples.filter((i) => !check(unit, rule, i).says && isOn(unit, i)), counted],
  ];
  refill(at("strips"), ...strips.flatMap(([head, found, caption], number) => {
    const most = found.slice(0, number ? 2 * MOST_PICTURES : MOST_PICTURES);
    const strip = element("div", { className: "strip" }, ...most.map((i) => shown(unit, i, caption(i), chooseExample)));
    if (found.length > most.length && number) strip.append(`and ${found.length - most.length} more`);
    const text = number ? `${head} (on ${found.length} of ${all} of this page)` : head;
    return [element("h4", { textContent: text }), found.length ? strip : element("p", { className: "small", textContent: "On none." })];
  }));

  const items = rule.literals.map((id, i) => {
    const literal = run.literals[id];
    const share = examples.filter((i) => holds(run, literal, i)).length / examples.length;
    const item = element("li", {}, element("div", {}, literalText(literal, run), ` holds on ${percent(share)}`, rule.literals.indexOf(id) < i ? ", once more: it counts again" : ""));
    if (example !== null) item.firstChild.append("; here ", ...onExample(run, literal, example));
    if (sprite) {
      const where = element("span", { className: "small", textContent: literal[1] ? "Its input is largest, and it fails, on" : "Its input is largest on" });
      const most = largest((i) => valueOf(run, literal, i));
      item.append(where, element("div", { className: "strip" }, ...most.map((i) => shown(unit, i, displayed(run, literal, i)))));
    }
    return item;
  });
  const list = (some, start) => element("ol", { className: "literals", start }, ...some);
  at("literals").replaceChildren(items.length ? list(items.slice(0, MOST_LITERALS), 1) : element("p", { className: "small", textContent: "None." }));
  if (items.length > MOST_LITERALS) {
    const more = element("details", { open: state.allLiterals }, element("summary", { textContent: `${items.length - MOST_LITERALS} more literals` }), list(items.slice(MOST_LITERALS), MOST_LITERALS + 1));
    more.ontoggle = () => { state.allLiterals = more.open; };
    at("literals").append(more);
  }
}
const largest = (value) => [...examples].sort((a, b) => value(b) - value(a)).slice(0, MOST_PICTURES);

// The classes that the rules of all classes allow. A single rule is about the second of two.
function classesOf(rules, example) {
  const on = rules.map(([unit, rule]) => check(unit, rule, example).says);
  if (on.length === 1) return [className(Number(on[0]))];
  return rules.filter((_, i) => on[i]).map(([unit]) => unit.name);
}
function verdicts(rules, example, isOpen) {
  return rules.map(([unit, rule]) => {
    const checked = check(unit, rule, example);
    const literals = rule.literals.map((id) => {
      const literal = unit.run.literals[id];
      return element("li", {}, literalText(literal, unit.run), ": ", ...onExample(unit.run, literal, example));
    });
    return element("details", { open: isOpen(unit, checked) }, element("summary", {}, element("strong", { textContent: unit.name }), `: ${verdict(rule, checked)}`), element("ul", {}, ...literals));
  });
}
function explanationBySoftmax(rules, example) {
  const said = classesOf(rules, example);
  const conclusion = said.length === 1 ? `say ${said[0]}.` : said.length ? `leave the answer open: ${said.join(" and ")} are on.` : "leave the answer open: none is on.";
  return [element("h4", { textContent: `The rules about what enters the softmax layer ${conclusion}` }), ...verdicts(rules, example, (unit, checked) => checked.says)];
}
// The likeliest class, the first on a tie, by how many literals of each class's rule hold.
function likeliest(some, example) {
  const odds = (unit) => unit.log_odds[check(unit, unit.rule, example).number];
  return some.reduce((best, unit) => (odds(unit) > odds(best) ? unit : best));
}
function explanationByAnswers({ name, units: some }, example) {
  const best = likeliest(some, example);
  return [
    element("h4", { textContent: `The rules about ${name} answer ${best.name}, the likeliest by how many literals of each hold.` }),
    ...verdicts(some.map((unit) => [unit, unit.rule]), example, (unit) => unit === best),
  ];
}
function showExamples() {
  const { example } = state;
  if (!softmax) {
    at("examples-about").textContent = "There are no rules of classes on this page. Choose an example of a unit above to see why its rule says what it says.";
    at("example-controls").hidden = true;
    return;
  }
  const rules = softmax.units.map((unit) => [unit, unit.rules[ruleAt(unit, state.choice)]]);
  const said = examples.map((i) => classesOf(rules, i));
  const answerOf = (i) => (rules.length === 1 ? className : (index) => softmax.units[index].name)(data.predictions[i]);
  const isOpen = (i) => said[i].length !== 1 || said[i][0] !== answerOf(i);
  at("num-open").textContent = `(${examples.filter(isOpen).length} of ${examples.length})`;
  const listed = at("only-open").checked ? examples.filter(isOpen) : examples;
  const buttons = listed.slice(0, state.examplesShown).map((i) => {
    const label = data.labels && data.labels[i] !== data.predictions[i] ? `, is ${className(data.labels[i])}` : "";
    return shown(softmax.units[0], i, `${className(data.predictions[i])}${label}; rules: ${said[i].join(", ") || "none"}`, chooseExample);
  });
  refill(at("example-strip"), ...buttons);
  at("more-examples").hidden = state.examplesShown >= listed.length;
  at("why").replaceChildren();
  if (example === null) return;
  at("why").append(
    element("p", {}, element("strong", { textContent: `${exampleName(example)}.` })),
    ...(sprite ? [framed(example, null, 160)] : []),
    ...explanationBySoftmax(rules, example),
    ...data.answers.flatMap((answers) => explanationByAnswers(answers, example)),
  );
}
function chooseRules() {
  state.choice = at("choice").value;
  state.rule = ruleAt(state.unit, state.choice);
  showLayers();
  showUnits();
  showUnit();
  showExamples();
}
function step(by) {
  const place = state.listed.indexOf(state.unit);
  const unit = state.listed[place < 0 ? 0 : place + by];
  if (unit) choose(unit);
}
function linkedUnit() {
  let text = location.hash.slice(1);
  try { text = decodeURIComponent(text); } catch { return undefined; }
  const [name, index] = text.split(/:(?=\d+$)/);
  return units.find((unit) => unit.layer.name === name && unit.index === Number(index));
}

options(at("choice"), [["readable", "to read: the simplest within 1% of the fewest errors where they were found"], ...data.layers[0].rows.map((row) => [row.choice, row.chosen])]);
options(at("layer"), [["", "all"], ...layers.map((layer) => [layer.name, layer.name])]);
at("choice").onchange = chooseRules;
at("layer").onchange = () => { showUnits(); if (!state.listed.includes(state.unit) && state.listed.length) choose(state.listed[0]); };
at("search").oninput = showUnits;
at("search").form.onsubmit = (event) => event.preventDefault();
at("unit-table").onclick = ({ target }) => {
  const lines = [...at("unit-table").querySelectorAll("tbody tr")];
  const unit = state.listed[lines.indexOf(target.closest("tbody tr"))];
  if (!unit) return;
  choose(unit);
  if (target.closest("button")) at("unit-title").focus();
};
at("unit-table").onkeydown = (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const buttons = [...at("unit-table").querySelectorAll("td button")];
  const next = buttons[buttons.indexOf(document.activeElement) + by];
  if (!by || !next) return;
  event.preventDefault();
  buttons.forEach((button) => { button.tabIndex = button === next ? 0 : -1; });
  next.focus();
};
at("rule").oninput = () => { state.rule = Number(at("rule").value); showRule(); };
at("before").onclick = () => step(-1);
at("after").onclick = () => step(1);
at("only-open").onchange = () => { state.examplesShown = EXAMPLES_AT_ONCE; showExamples(); };
at("more-examples").onclick = () => {
  const before = state.examplesShown;
  state.examplesShown += 4 * EXAMPLES_AT_ONCE;
  showExamples();
  at("example-strip").children[before].focus();
};
window.onhashchange = () => { const unit = linkedUnit(); if (unit && unit !== state.unit) choose(unit, { isBack: true }); };

state.unit = linkedUnit() ?? units[0];
state.rule = ruleAt(state.unit, state.choice);
showLayers();
showUnits();
showUnit();
showExamples();
if (linkedUnit()) at("unit").scrollIntoView();
