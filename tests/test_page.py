"""The report: what is in the page, and, in a real browser without a network, what it shows."""

import base64
import os
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from content import page_data

import mofn_jax as mofn
from mofn_jax import page
from mofn_jax.report import layer_rows, readable_row, rules_by_unit

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")


class Case:
    """A network's results, the examples to show, and their page."""

    def __init__(self, dataset, network, positions="all", **texts):
        params = network.init(jax.random.key(1), dataset.train.inputs[:1])
        some, others = dataset.train.inputs[:200], dataset.test.inputs[:90]
        self.results = mofn.extract_network(
            network,
            params,
            some,
            held_out=others,
            betas=[0.03, 1.0],
            lengths=[2],
            search="weight_order",
            names=dataset.names,
            positions=positions,
        )
        self.inputs, self.labels = others[::2], dataset.test.labels[:90:2]
        self.layers = mofn.capture_layers(network, params, self.inputs, names=dataset.names)
        self.texts = {"class_names": dataset.class_names, **texts}

    def html(self, **texts):
        return mofn.report_html(self.results, self.layers, **{**self.texts, **texts})


@pytest.fixture(scope="module")
def digits():
    dataset = mofn.load_dataset("digits")
    case = Case(dataset, mofn.CNN(num_classes=10, activation="relu"), title="digits")
    case.texts |= {"inputs": case.inputs, "labels": case.labels}
    return case


@pytest.fixture(scope="module")
def table():
    dataset = mofn.load_dataset("breast_cancer")
    case = Case(dataset, mofn.MLP(num_classes=2, activation="tanh"))
    predictions = case.layers[-1].predictions
    answers = mofn.explain_predictions(
        case.inputs, predictions, num_classes=2, names=dataset.names, max_literals=3, search="exact"
    )
    case.texts |= {"inputs": case.inputs, "answers": {"its inputs": answers}}
    return case


def numbers(packed, columns):
    return decoded(packed["packed"], f"f{packed['bytes']}", columns)


def literal_text(run, i):
    column, negated, _, shown = run["literals"][i]
    return f"{run['inputs'][column][0]} {'<' if negated else '>='} {shown}"


def decoded(text, dtype, columns):
    return np.frombuffer(base64.b64decode(text), dtype).reshape(-1, columns)


@pytest.mark.parametrize("which", ["digits", "table"])
def test_page_holds_the_rules_and_what_they_say_on_its_examples(which, request):
    case = request.getfixturevalue(which)
    data = page_data(case.html())
    assert [layer["name"] for layer in data["layers"]] == [one.name for one in case.results]
    for layer, result, captured in zip(data["layers"], case.results, case.layers, strict=True):
        assert len(layer["rows"]) == len(layer_rows(result)) == 3
        (run,) = layer["runs"]
        values = numbers(run["values"], len(run["inputs"]))
        on = decoded(layer["on"], np.uint8, len(layer["units"])) == 1
        assert len(values) == len(on) == len(case.inputs) == len(data["numbers"])
        if not layer["every_position"]:
            targets, _ = mofn.layer_targets(captured, None, result.thresholds)
            assert np.array_equal(on, targets)
            says = [mofn.evaluate_rules(rules, captured.inputs) for rules in result.choices]
        for index, (unit, rules) in enumerate(
            zip(layer["units"], rules_by_unit(result), strict=True)
        ):
            errors = [rule["error"] for rule in unit["rules"]]
            assert errors == sorted(errors, reverse=True)
            assert len(unit["rules"]) == len(rules)
            for same in rules:
                rule = same[0]
                (shown,) = [
                    one
                    for one in unit["rules"]
                    if one["m"] == rule.m
                    and [literal_text(run, i) for i in one["literals"]]
                    == list(map(str, rule.literals))
                ]
                measures = [shown[name] for name in ("error", "held_out", "bound", "complexity")]
                assert measures == [
                    rule.error,
                    rule.held_out_error,
                    rule.held_out_bound,
                    rule.complexity,
                ]
                if not layer["every_position"]:
                    holding = np.zeros(len(values), int)
                    for i in shown["literals"]:
                        column, negated, threshold, _ = run["literals"][i]
                        holding += (values[:, column] >= np.float32(threshold)) != negated
                    which = next(i for i, some in enumerate(result.choices) if some[index] in same)
                    assert np.array_equal(holding >= rule.m, says[which][:, index])


def test_values_are_shown_in_the_tables_own_units(table):
    dataset = mofn.load_dataset("breast_cancer")
    layer = page_data(table.html())["layers"][0]
    (run,) = layer["runs"]
    names = list(dataset.feature_names)
    values = numbers(run["values"], len(run["inputs"]))
    for column, (name, offset, scale) in enumerate(run["inputs"]):
        expected = mofn.load_dataset("breast_cancer").feature_scaling[names.index(name)]
        assert [offset, scale] == expected.tolist()
        assert np.array_equal(values[:, column], table.inputs[:, names.index(name)])


def test_frames_are_the_patches_that_units_read(digits):
    first, second, *others = page_data(digits.html())["layers"]
    assert (len(first["frames"]), len(second["frames"])) == (6 * 6, 4 * 4)
    assert first["frames"][2 * 6 + 5] == [5 / 8, 2 / 8, 3 / 8, 3 / 8]
    # The second reads three by three of the first one's six by six places.
    assert np.allclose(second["frames"][1 * 4 + 3], [3 / 6, 1 / 6, 3 / 6, 3 / 6], atol=1e-4)
    assert all(layer["frames"] is None for layer in others)
    (run,) = first["runs"]
    values = numbers(run["values"], len(run["inputs"]))
    for row in range(len(values)):
        y, x = divmod(first["positions"][row], 6)
        patch = digits.inputs[row, y : y + 3, x : x + 3, 0]
        assert np.isin(values[row], patch).all()


def test_units_at_their_own_positions_each_have_their_own_inputs():
    dataset = mofn.load_dataset("digits")
    case = Case(dataset, mofn.CNN(num_classes=10, activation="relu"), "most_informative")
    first = page_data(case.html(inputs=case.inputs))["layers"][0]
    assert not first["every_position"]
    assert len(first["runs"]) == len(first["positions"]) == len(first["units"]) == 32
    result, layer = case.results[0], case.layers[0]
    rules = result.choices[0]
    targets, _ = mofn.layer_targets(
        layer, np.array([rule.position for rule in rules]), result.thresholds
    )
    on = decoded(first["on"], np.uint8, 32) == 1
    assert np.array_equal(on, targets)
    places = [np.ravel_multi_index(rule.position, (6, 6)) for rule in rules]
    assert first["positions"] == places


def test_texts_of_users_are_texts():
    hostile = "</script><script>alert(1)</script><b>&"
    dataset = mofn.load_dataset("wine")
    names = dataset.names._replace(
        features=(hostile, *dataset.names.features[1:]), classes=(hostile, "b", "c")
    )
    case = Case(
        dataset._replace(feature_names=names.features, class_names=names.classes),
        mofn.MLP(num_classes=3, activation="relu"),
    )
    html = case.html(title=hostile, about=hostile)
    assert "alert(1)</script>" not in html
    assert html.count("</script>") == 2
    data = page_data(html)
    assert data["classes"][0] == data["layers"][1]["units"][0]["name"] == hostile


def test_page_asks_no_network(digits):
    html = digits.html()
    assert not re.search(r"""(src|href)=["']?(?!#|")""", html.split('id="data"')[0])
    assert "default-src 'none'" in html
    assert "@import" not in html


def test_examples_are_as_many_as_there_is_room_for(digits, monkeypatch):
    everything = page_data(digits.html())
    assert everything["numbers"] == list(range(45))
    assert everything["labels"] == digits.labels.tolist()
    assert everything["predictions"] == digits.layers[-1].predictions.tolist()
    monkeypatch.setattr(page, "_VALUE_BYTES", 160_000)
    data = page_data(digits.html())
    numbers = data["numbers"]
    assert 32 <= len(numbers) < 45
    assert (numbers[0], numbers[-1]) == (0, 44)
    assert data["predictions"] == digits.layers[-1].predictions[numbers].tolist()
    sizes = [len(layer["runs"][0]["values"]["packed"]) * 3 / 4 for layer in data["layers"]]
    assert sum(sizes) < 160_000
    monkeypatch.setattr(page, "_VALUE_BYTES", 1)
    assert len(page_data(digits.html())["numbers"]) == 32


def test_of_many_units_the_first_are_shown(table, monkeypatch):
    monkeypatch.setattr(page, "MOST_UNITS", 5)
    layer = page_data(table.html())["layers"][0]
    assert (len(layer["units"]), layer["all_units"]) == (5, 128)


def test_refusals(table):
    with pytest.raises(ValueError, match="results: expected at least one"):
        mofn.report_html([], table.layers)
    with pytest.raises(ValueError, match="layers: expected 2, as results, got 1"):
        mofn.report_html(table.results, table.layers[:1])
    with pytest.raises(ValueError, match="layers: expected 1, as results, got more"):
        mofn.report_html(table.results[:1], table.layers)
    with pytest.raises(ValueError, match=r"layers\[0\]: expected 'dense_0'"):
        mofn.report_html(table.results, table.layers[::-1])
    with pytest.raises(ValueError, match="inputs: expected 45 examples, got 3"):
        table.html(inputs=np.zeros((3, 30)))
    with pytest.raises(ValueError, match="inputs: needed with answers"):
        table.html(inputs=None)
    with pytest.raises(ValueError, match=r"answers\['its inputs'\]: are not about the 1 inputs"):
        table.html(inputs=np.zeros((45, 1)))
    with pytest.raises(ValueError, match="labels"):
        table.html(labels=[0, 1])
    for names in ([1, 2], ["no"]):
        with pytest.raises(ValueError, match="class_names: "):
            table.html(class_names=names)
    with pytest.raises(ValueError, match="layers: expected one for each of results"):
        mofn.report_html(table.results, None)
    with pytest.raises(ValueError, match="results: expected the same betas and lengths"):
        mofn.report_html([table.results[0], table.results[1]._replace(by_length={})], table.layers)
    fewer = table.layers[0]._replace(
        weights=table.layers[0].weights[:20],
        inputs=table.layers[0].inputs[:, :20],
        input_names=None,
        input_scaling=None,
    )
    with pytest.raises(ValueError, match=r"layers\[0\]: expected 'dense_0', dense, of 30 inputs"):
        mofn.report_html(table.results, [fewer, table.layers[1]])
    with pytest.raises(ValueError, match=r"answers\['x'\]: expected an? Answers"):
        table.html(answers={"x": 3})
    with pytest.raises(ValueError, match="title"):
        table.html(title=None)


@pytest.fixture(scope="module")
def browser():
    if not (CHROMIUM.exists() and DRIVER.exists()):
        reason = f"no {CHROMIUM} and {DRIVER} (Debian's packages chromium and chromium-driver)"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    # No sandbox: it does not work for root, as whom containers run.
    for argument in ("--headless=new", "--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a page from disk; at the end, that it found nothing to complain about."""

    def show(html, width=1280, fragment=""):
        (tmp_path / "report.html").write_text(html, encoding="utf-8")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get((tmp_path / "report.html").as_uri() + fragment)
        return browser

    yield show
    assert browser.get_log("browser") == []


def css(browser, selector):
    return browser.find_elements("css selector", selector)


def cells(browser, table):
    """The text of a table, line by line."""
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0] + ' tr')]"
        ".map(line => [...line.children].map(cell => cell.textContent))",
        table,
    )


def wait_for(holds):
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(None, 10).until(lambda _: holds())


def is_percent(text, share):
    return abs(float(text.rstrip("%")) - 100 * share) < 0.0501


def test_browser_shows_the_layers(show, digits):
    browser = show(digits.html())
    assert browser.title == css(browser, "h1")[0].text == "digits"
    heads, *lines = cells(browser, "#layer-table")
    assert [line[0] for line in lines] == [result.name for result in digits.results]
    for choice, option in ((None, 1), (0.03, 2)):
        css(browser, f"#choice option:nth-child({option})")[0].click()
        _, *lines = cells(browser, "#layer-table")
        for result, line in zip(digits.results, lines, strict=True):
            rows = [row for row in layer_rows(result) if row.beta == choice]
            row = rows[0] if choice is not None else readable_row(result)
            shown = dict(zip(heads, line, strict=True))
            assert is_percent(shown["held-out error"], row.held_out_error)
            assert is_percent(shown["error"], row.error)
            assert is_percent(shown["constant rule"], row.baseline_error)
            assert shown["units"] == str(row.units)
    assert css(browser, "#landscape svg[role=img][aria-label]")


def test_browser_slider_shows_each_rule(show, digits):
    from selenium.webdriver.common.keys import Keys

    layer, rules = digits.results[2], rules_by_unit(digits.results[2])
    index = max(range(len(rules)), key=lambda unit: len(rules[unit]))
    browser = show(digits.html(), fragment=f"#{layer.name}:{index}")
    saved = mofn.rules_from_json(
        mofn.rules_to_json([rule for some in layer.choices for rule in some])
    )
    expected = {
        (f"unit {index} <=> {body}", rule.held_out_error)
        for rule in saved
        if rule.unit == index
        for body in [mofn.format_rule(rule).split(" <=> ")[1].split("   ")[0]]
    }
    slider = browser.find_element("id", "rule")
    count = int(slider.get_attribute("max")) + 1
    assert count == len(rules[index]) == len(expected) > 1
    slider.send_keys(Keys.HOME)
    seen, errors = [], []
    for _ in range(count):
        text = browser.find_element("id", "rule-text").text
        literals = [item.get_attribute("textContent") for item in css(browser, "#literals strong")]
        measures = dict(
            zip(
                [item.text for item in css(browser, "#measures dt")],
                [item.text for item in css(browser, "#measures dd")],
                strict=True,
            )
        )
        if "literals below" in text:
            text = f"{text.split(' of the ')[0]} of {{{', '.join(literals)}}}"
        text = text.removesuffix(": always on").removesuffix(": never on")
        (error,) = [error for shown, error in expected if shown == text]
        assert is_percent(measures["held-out error"], error)
        assert measures["held-out error"] in slider.get_attribute("aria-valuetext")
        seen.append(text)
        errors.append(float(measures["error"].rstrip("%")))
        slider.send_keys(Keys.ARROW_RIGHT)
    assert len(set(seen)) == count
    assert errors == sorted(errors, reverse=True)


def test_browser_sorts_and_searches_by_keyboard(show, digits):
    from selenium.webdriver.common.keys import Keys

    browser = show(digits.html())
    column = cells(browser, "#unit-table")[0].index("held-out error")

    def shares():
        texts = [line[column] for line in cells(browser, "#unit-table")[1:]]
        known = [float(text.rstrip("%")) for text in texts if text != "–"]
        assert texts[len(known) :] == ["–"] * (len(texts) - len(known))  # constant units come last
        return known

    for state in ("ascending", "descending"):
        css(browser, "#unit-table th button")[column].send_keys(Keys.ENTER)
        assert css(browser, "#unit-table th")[column].get_attribute("aria-sort") == state
        assert shares() == sorted(shares(), reverse=state == "descending")
        assert len(shares()) > 100
        assert browser.switch_to.active_element.text.startswith("held-out error")
    css(browser, "#search")[0].send_keys("softmax class")
    assert css(browser, "#found")[0].text == "10 of 234 units"
    css(browser, "#search")[0].send_keys(" 7")
    (button,) = css(browser, "#unit-table td button")
    assert button.get_attribute("tabindex") == "0"
    button.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "unit-title"
    assert browser.switch_to.active_element.text == "softmax class 7"
    assert css(browser, "#unit-table tr[aria-current=true]")
    assert browser.current_url.endswith("#softmax:7")
    # Of many rows one is reached by Tab, the others by arrows; next is what stands below.
    css(browser, "#search")[0].clear()
    css(browser, "#search")[0].send_keys("softmax class")
    css(browser, "#unit-table th button")[0].send_keys(Keys.ENTER)
    buttons = css(browser, "#unit-table td button")
    assert [one.get_attribute("tabindex") for one in buttons].count("0") == 1
    buttons[2].send_keys(Keys.ARROW_DOWN)
    assert browser.switch_to.active_element.text == "3"
    css(browser, "#unit-table th button")[0].send_keys(Keys.ENTER)  # the last one first
    css(browser, "#after")[0].click()
    assert css(browser, "#unit-title")[0].text == "softmax class 6"


def dataset_class(case, index):
    return (case.texts["class_names"] or range(100))[index]


@pytest.mark.parametrize("which", ["digits", "table"])
def test_browser_says_why(which, show, request):
    case = request.getfixturevalue(which)
    browser = show(case.html())
    result, layer = case.results[-1], case.layers[-1]
    row = readable_row(result)
    rules = result.at(beta=row.beta, max_literals=row.max_literals)
    explained = [(rules, layer.inputs, None)]
    if "answers" in case.texts:
        answers = case.texts["answers"]["its inputs"]
        explained.append((answers.rules, case.inputs, answers.answer(case.inputs)))
    for example in (0, 7, 11):
        css(browser, "#example-strip button")[example].click()
        heads = css(browser, "#why h4")
        for head, (some, inputs, answered) in zip(heads, explained, strict=True):
            why = mofn.explain_example(some, inputs[example])
            lines = browser.execute_script(
                """const lines = [];
                for (let next = arguments[0].nextElementSibling; next && next.tagName === "DETAILS";
                    next = next.nextElementSibling) lines.push(next);
                return lines""",
                head,
            )
            assert len(lines) == len(some)
            for checked, line in zip(why.rules, lines, strict=True):
                name, said = line.find_element("tag name", "summary").text.split(": ", 1)
                assert name == (checked.rule.unit_name or f"unit {checked.rule.unit}")
                assert said.replace(":", ",", 1) == checked._verdict()
                texts = [
                    item.get_attribute("textContent")
                    for item in line.find_elements("tag name", "li")
                ]
                for literal, text in zip(checked.literals, texts, strict=True):
                    assert text.startswith(f"{literal.literal}: it is ")
                    assert text.endswith("holds" if literal.holds else "fails")
                    value = float(text.split("it is ")[1].split(",")[0])
                    assert value == pytest.approx(literal.value, rel=1e-3)
            if answered is None:
                assert ("leave the answer open" in head.text) == (len(why.saying_on) != 1)
            else:
                assert f"answer {dataset_class(case, answered[example])}," in head.text


def test_browser_shows_where_rules_and_network_differ(show, digits):
    result, layer = digits.results[-1], digits.layers[-1]
    row = readable_row(result)
    rules = result.at(beta=row.beta, max_literals=row.max_literals)
    says = mofn.evaluate_rules(rules, layer.inputs)
    agree = (says.sum(1) == 1) & (says.argmax(1) == layer.predictions)
    browser = show(digits.html())
    css(browser, "#only-open")[0].click()
    shown = css(browser, "#example-strip button")
    assert [int(one.get_attribute("data-example")) for one in shown] == list(
        np.flatnonzero(~agree)[:24]
    )


def test_browser_follows_a_literal_to_its_unit_and_keeps_the_example(show, digits):
    from selenium.webdriver.common.keys import Keys

    answer = np.bincount(digits.layers[-1].predictions).argmax()
    browser = show(digits.html(), fragment=f"#softmax:{answer}")
    assert browser.execute_script("return scrollY") > 0  # the unit that the address names
    browser.find_element("id", "rule").send_keys(Keys.END)
    css(browser, "#strips button")[0].click()
    chosen = css(browser, "#chosen-example")[0].text.split(",")[0]
    link = css(browser, "#literals button.link")[0]
    unit = re.match(r"dense_0\[(\d+)\]", link.text)[1]
    link.click()
    assert css(browser, "#unit-title")[0].text.startswith(f"dense_0 unit {unit}")
    assert browser.current_url.endswith(f"#dense_0:{unit}")
    assert css(browser, "#chosen-example")[0].text.startswith(chosen)
    # And one layer further in, where inputs are pooled.
    varies = np.flatnonzero(digits.results[2].front.on_counts % 200)[0]
    browser = show(digits.html(), fragment=f"#dense_0:{varies}")
    browser.find_element("id", "rule").send_keys(Keys.END)
    link = css(browser, "#literals button.link")[0]
    unit = re.match(r"pooled conv_1\[(\d+)\]", link.text)[1]
    link.click()
    assert css(browser, "#unit-title")[0].text.startswith(f"conv_1 unit {unit}")
    assert "Opened from its literal pooled conv_1[" in css(browser, "#unit-from")[0].text
    browser.back()
    wait_for(lambda: css(browser, "#unit-title")[0].text.startswith(f"dense_0 unit {varies}"))
    assert css(browser, "#unit-from")[0].text == ""


def test_browser_shows_which_examples_a_rule_gets_wrong(show, digits):
    result, layer = digits.results[-1], digits.layers[-1]
    browser = show(digits.html(), fragment="#softmax:3")
    row = readable_row(result)
    rule = result.at(beta=row.beta, max_literals=row.max_literals)[3]
    says = mofn.evaluate_rules([rule], layer.inputs)[:, 0]
    on = layer.predictions == 3
    heads = [head.text for head in css(browser, "#strips h4")]
    assert f"(on {(says & ~on).sum()} of the {len(on)} examples" in heads[1]
    assert f"(on {(~says & on).sum()} of the {len(on)} examples" in heads[2]
    button = css(browser, "#strips button")[0]
    button.click()
    best = int(np.argmax(layer.activations[:, 3]))
    assert f"example {best}," in css(browser, "#chosen-example")[0].text
    assert len(css(browser, "#literals .holds, #literals .fails")) == len(rule.literals)
    assert browser.switch_to.active_element.get_attribute("data-example") == str(best)


@pytest.mark.parametrize("which", ["digits", "table"])
def test_browser_of_a_telephone_needs_no_sideways_scrolling(which, show, request):
    browser = show(request.getfixturevalue(which).html(), width=390)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_browser_names_all_controls(show, digits):
    """What screen readers read: every control and picture has a name."""
    browser = show(digits.html())
    unnamed = browser.execute_script(
        """return [...document.querySelectorAll(
            "button, input, select, svg, [role=img], [role=region]")]
          .filter(node => !(node.textContent.trim() || node.getAttribute("aria-label")
            || (node.labels && node.labels.length))).map(node => node.outerHTML)"""
    )
    assert unnamed == []
    assert css(browser, "html")[0].get_attribute("lang") == "en"


def test_browser_on_one_logit(show):
    """Its rule is about the second of two classes: off is the first one's answer, not none."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((40, 3)).astype(np.float32)
    weights = np.array([[2.0], [0.0], [0.0]], np.float32)
    logits = inputs @ weights
    layer = mofn.layer_from_arrays(
        "softmax",
        weights,
        inputs,
        logits,
        (logits[:, 0] > 0).astype(int),
        kind="softmax",
        names=mofn.Names(classes=("no", "yes")),
    )
    result = mofn.explain_layer(layer, betas=[0.0, 0.1, 0.1 + 1e-12])
    (rule,) = result.at(beta=0.0)
    assert rule.error == 0
    browser = show(mofn.report_html([result], [layer], class_names=["no", "yes"]))
    css(browser, "#choice option:nth-child(2)")[0].click()
    captions = [one.text.split("\n")[1] for one in css(browser, "#example-strip button")]
    says = ["yes" if logit > 0 else "no" for logit in logits[:24, 0]]
    assert captions == [f"{one}; rules: {one}" for one in says]
    css(browser, "#only-open")[0].click()
    assert css(browser, "#example-strip button") == []


def test_browser_shows_many_pictures(show, table):
    """Chromium drops a property of more than 2 MB: the picture of all pictures is none."""
    pictures = np.random.default_rng(0).random((45, 64, 64, 3))
    browser = show(table.html(inputs=np.repeat(pictures, 8, 2)[:, :, :64], answers=None))
    size = browser.execute_async_script(
        """const done = arguments[0], image = new Image();
        image.onload = () => done([image.naturalWidth, image.naturalHeight]);
        image.onerror = () => done("none");
        const style = getComputedStyle(document.querySelector(".picture"));
        image.src = style.backgroundImage.slice(5, -2)"""
    )
    assert size == [7 * 64, 7 * 64]


def test_browser_in_another_page_and_at_a_bad_address(show, digits):
    browser = show(digits.html(), fragment="#50%")
    assert len(css(browser, "#layer-table tbody tr")) == 4
    browser.execute_script(
        """const frame = document.createElement("iframe");
        frame.srcdoc = "<!doctype html>" + document.documentElement.outerHTML;
        document.body.replaceChildren(frame)"""
    )
    browser.switch_to.frame(css(browser, "iframe")[0])
    css(browser, "#after")[0].click()
    assert css(browser, "#unit-title")[0].text == "softmax class 1"
