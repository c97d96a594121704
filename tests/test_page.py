"""The report: what is in the page, and, in a real browser without a network, what it shows."""

import base64
import io
import os
import re
from pathlib import Path

import jax
import matplotlib.image
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
        self.inputs = others[::2]
        self.layers = mofn.capture_layers(network, params, self.inputs, names=dataset.names)
        self.texts = {"class_names": dataset.class_names, **texts}

    def html(self, **texts):
        return mofn.report_html(self.results, self.layers, **{**self.texts, **texts})


@pytest.fixture(scope="module")
def digits():
    dataset = mofn.load_dataset("digits")
    case = Case(dataset, mofn.CNN(num_classes=10, activation="relu"), title="digits")
    case.texts["pictures"] = case.inputs
    return case


@pytest.fixture(scope="module")
def table():
    return Case(mofn.load_dataset("breast_cancer"), mofn.MLP(num_classes=2, activation="tanh"))


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
        values = decoded(run["values"], "f4" if run["bytes"] == 4 else "f8", len(run["inputs"]))
        on = decoded(layer["on"], np.uint8, len(layer["units"])) == 1
        assert len(values) == len(on) == len(layer["examples"])
        if layer["places"] is None:
            targets, _ = mofn.layer_targets(captured, None, result.thresholds)
            assert np.array_equal(on, targets[layer["examples"]])
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
                    and [run["literals"][i][3] for i in one["literals"]]
                    == list(map(str, rule.literals))
                ]
                measures = [shown[name] for name in ("error", "held_out", "bound", "complexity")]
                assert measures == [
                    rule.error,
                    rule.held_out_error,
                    rule.held_out_bound,
                    rule.complexity,
                ]
                if layer["places"] is None:
                    literals = [run["literals"][i] for i in shown["literals"]]
                    holding = sum(
                        ((values[:, i] >= t) != negated for i, negated, t, _ in literals),
                        np.zeros(len(values), int),
                    )
                    which = next(i for i, some in enumerate(result.choices) if some[index] in same)
                    assert np.array_equal(holding >= rule.m, says[which][layer["examples"], index])


def test_values_are_shown_in_the_tables_own_units(table):
    dataset = mofn.load_dataset("breast_cancer")
    layer = page_data(table.html())["layers"][0]
    (run,) = layer["runs"]
    names = list(dataset.feature_names)
    values = decoded(run["values"], "f4", len(run["inputs"]))
    for column, (name, offset, scale) in enumerate(run["inputs"]):
        expected = mofn.load_dataset("breast_cancer").feature_scaling[names.index(name)]
        assert [offset, scale] == expected.tolist()
        assert np.array_equal(values[:, column], table.inputs[layer["examples"], names.index(name)])


def test_frames_are_the_patches_that_units_read(digits):
    first, second, *others = page_data(digits.html())["layers"]
    assert (len(first["frames"]), len(second["frames"])) == (6 * 6, 4 * 4)
    assert first["frames"][2 * 6 + 5] == [5 / 8, 2 / 8, 3 / 8, 3 / 8]
    # The second reads three by three of the first one's six by six places.
    assert np.allclose(second["frames"][1 * 4 + 3], [3 / 6, 1 / 6, 3 / 6, 3 / 6], atol=1e-4)
    assert all(layer["frames"] is None for layer in others)
    (run,) = first["runs"]
    values = decoded(run["values"], "f4", len(run["inputs"]))
    for row in range(0, len(values), 97):
        y, x = divmod(first["places"][row], 6)
        patch = digits.inputs[first["examples"][row], y : y + 3, x : x + 3, 0]
        assert np.isin(values[row], patch).all()


def test_frames_where_padding_reaches_outside():
    network = mofn.CNN(num_classes=2, activation="relu", padding="SAME")
    inputs = np.zeros((1, 8, 8, 1), np.float32)
    params = network.init(jax.random.key(0), inputs)
    layer = mofn.capture_layers(network, params, inputs)[0]
    frames = page._frames(layer)
    assert len(frames) == 64
    assert frames[0].tolist() == [-1 / 8, -1 / 8, 3 / 8, 3 / 8]


def test_units_at_their_own_positions_each_have_their_own_inputs():
    dataset = mofn.load_dataset("digits")
    case = Case(dataset, mofn.CNN(num_classes=10, activation="relu"), "most_informative")
    first = page_data(case.html(pictures=case.inputs))["layers"][0]
    assert first["each_its_own_place"]
    assert len(first["runs"]) == len(first["places"]) == len(first["units"]) == 32
    result, layer = case.results[0], case.layers[0]
    rules = result.choices[0]
    targets, _ = mofn.layer_targets(
        layer, np.array([rule.position for rule in rules]), result.thresholds
    )
    on = decoded(first["on"], np.uint8, 32) == 1
    assert np.array_equal(on, targets[first["examples"]])


def test_pictures_lie_side_by_side_and_large_ones_are_made_smaller():
    pictures = np.zeros((5, 130, 70, 1), np.float32)
    pictures[3] = 1
    sprite = page._sprite(pictures, 5)
    assert (sprite["columns"], sprite["rows"]) == (3, 2)
    assert (sprite["height"], sprite["width"]) == (43, 23)

    image = matplotlib.image.imread(io.BytesIO(base64.b64decode(sprite["png"])))
    assert image.shape[:2] == (2 * 43, 3 * 23)
    assert image[43:, :23, 0].min() == 1
    assert image[..., 0].sum() == 43 * 23
    assert len(page.examples_to_show(np.zeros((5000, 28, 28, 1)))) == 1000
    assert len(page.examples_to_show(np.zeros((5000, 300, 300, 3)))) == 2**20 // (60 * 60 * 3)
    assert page.examples_to_show(np.zeros((3, 4))).tolist() == [0, 1, 2]


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
    with pytest.raises(ValueError, match="pictures: expected shape"):
        table.html(pictures=np.zeros((3, 8, 8)))
    with pytest.raises(ValueError, match="class_names"):
        table.html(class_names=[1, 2])


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


def is_percent(text, share):
    return abs(float(text.rstrip("%")) - 100 * share) < 0.0501


def test_browser_shows_the_layers(show, digits):
    browser = show(digits.html())
    assert browser.title == css(browser, "h1")[0].text == "digits"
    heads, *lines = cells(browser, "#layer-table")
    assert [line[0] for line in lines] == [result.name for result in digits.results]
    for choice, option in ((None, "readable"), (0.03, "beta 0.03")):
        for button in css(browser, f"#choice option[value='{option}']"):
            button.click()
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
        literals = [item.text for item in css(browser, "#literals strong")]
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
        return [float(line[column].rstrip("%")) for line in cells(browser, "#unit-table")[1:]]

    for state in ("ascending", "descending"):
        css(browser, "#unit-table th button")[column].send_keys(Keys.ENTER)
        assert css(browser, "#unit-table th")[column].get_attribute("aria-sort") == state
        assert shares() == sorted(shares(), reverse=state == "descending")
        assert browser.switch_to.active_element.text.startswith("held-out error")
    css(browser, "#search")[0].send_keys("softmax class")
    assert css(browser, "#found")[0].text == "10 of 234 units"
    css(browser, "#search")[0].send_keys(" 7")
    css(browser, "#unit-table td button")[0].send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "unit-title"
    assert browser.switch_to.active_element.text == "softmax class 7"
    assert css(browser, "#unit-table tr[aria-current=true]")
    assert browser.current_url.endswith("#softmax:7")


@pytest.mark.parametrize("which", ["digits", "table"])
def test_browser_says_why(which, show, request):
    case = request.getfixturevalue(which)
    browser = show(case.html())
    result, layer = case.results[-1], case.layers[-1]
    row = readable_row(result)
    rules = result.at(beta=row.beta, max_literals=row.max_literals)
    for example in (0, 7, 11):
        css(browser, "#example-strip button")[example].click()
        why = mofn.explain_example(rules, layer.inputs[example])
        lines = css(browser, "#why details")
        assert len(lines) == len(rules)
        for checked, line in zip(why.rules, lines, strict=True):
            name, said = line.find_element("tag name", "summary").text.split(": ", 1)
            assert name == (checked.rule.unit_name or f"unit {checked.rule.unit}")
            assert said.startswith("on" if checked.says else "off")
            if checked.to_turn is not None:
                assert f"{checked.num_holding} of {len(checked.literals)} hold" in said
                assert f"if {checked.to_turn} more" in said
            texts = [
                item.get_attribute("textContent") for item in line.find_elements("tag name", "li")
            ]
            for literal, text in zip(checked.literals, texts, strict=True):
                assert text.startswith(f"{literal.literal}: it is ")
                assert text.endswith("holds" if literal.holds else "fails")
                value = float(text.split("it is ")[1].split(",")[0])
                assert value == pytest.approx(literal.value, rel=1e-3)
        on = len(why.saying_on)
        conclusion = css(browser, "#why p")[0].text
        assert ("leave the answer open" in conclusion) == (on != 1)


def test_browser_shows_which_examples_a_rule_gets_wrong(show, digits):
    result, layer = digits.results[-1], digits.layers[-1]
    browser = show(digits.html(), fragment="#softmax:3")
    row = readable_row(result)
    rule = result.at(beta=row.beta, max_literals=row.max_literals)[3]
    says = mofn.evaluate_rules([rule], layer.inputs)[:, 0]
    on = layer.predictions == 3
    heads = [head.text for head in css(browser, "#strips h4")]
    assert f"({(says & ~on).sum()} of {len(on)} shown)" in heads[1]
    assert f"({(~says & on).sum()} of {len(on)} shown)" in heads[2]
    button = css(browser, "#strips button")[0]
    button.click()
    best = int(np.argmax(layer.activations[:, 3]))
    assert f"example {best}," in css(browser, "#chosen-example")[0].text
    assert len(css(browser, "#literals .holds, #literals .fails")) == len(rule.literals)


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
