"""The report: a page that works in a real browser, without a network."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sys
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from synthetic_survey import diagnosis, survey

from lcd.analyses.report import VERDICTS, page_data, twin_frames, write_report
from lcd.envs import GAMES, ProcgenOptions
from lcd.measurement.rule import VerdictName
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.taxonomy.taxonomy import Taxonomy


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    taxonomy = Taxonomy(SurveyTables.of(survey({(0.02, 0.01): 3, (0.35, 0.1): 4, (0.1, 0.4): 5})))
    write_report(taxonomy, path, "A <title> & more")
    return path


def test_the_page_is_one_file_that_asks_for_no_other(page):
    text = page.read_text("utf-8")
    outside_of_plotly = re.sub(
        r'<script type="text/plain" id="plotly">.*?</script>', "", text, count=1, flags=re.DOTALL
    )
    assert len(outside_of_plotly) < 1_000_000 < len(text) < 3_000_000
    assert not re.findall(r"(?:src|href)=(?![\"']?data:)[^\s>]+", outside_of_plotly)
    assert "A &lt;title&gt; &amp; more" in text
    assert not list(page.parent.glob(".*"))


def test_the_first_screen_tells_what_limits_each_game(page):
    text = page.read_text("utf-8")
    named = re.findall(r'<button type="button" data-game="(\w+)">', text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))
    assert sorted(named) == sorted(data["games"])
    assert set(VERDICTS) == set(get_args(VerdictName))
    for heading, listed in re.findall(r"<h3>([\w -]+) <span.*?<p>(.*?)</p>", text, re.DOTALL):
        games = re.findall(r'data-game="(\w+)"', listed)
        assert games
        assert {data["games"][game]["verdict"] for game in games} == {heading}


def test_without_procgen_the_page_lacks_the_frames_alone(monkeypatch):
    taxonomy = Taxonomy(SurveyTables.of(survey({(0.1, 0.4): 3})))
    whole = page_data(taxonomy)["games"]
    monkeypatch.setitem(sys.modules, "procgen", None)
    found = page_data(taxonomy)["games"]
    assert all(game.pop("frames") is None for game in found.values())
    assert found == {name: {key: game[key] for key in game if key != "frames"} for name, game in whole.items()}


def test_the_page_tells_the_configuration_and_what_verdicts_leave_out(tmp_path):
    run = {"view": "pixels", "distribution_mode": "hard", "num_levels": 200, "encoder": "impala"}
    settings = {"preset": "paper", "plan": {"games": [{"teacher": "5ea1", "runs": [run]}]}}
    games = survey({(0.45, 0.45): 2, (0.02, 0.2): 1}, top=0.5, settings=settings)
    games[0] = diagnosis(games[0].game, 0.45, 0.45, top=0.5, settings=settings, seeds=4)
    write_report(Taxonomy(SurveyTables.of(games)), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "100,000 steps a cell,\n3 to 4 seeds" in text
    for value in ("paper", "impala", "hard", "200", "as published"):
        assert f"<dd>{value}</dd>" in text
    assert "<code>5ea1</code>" in text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    known = json.loads(data)["games"]
    assert [game["floor_limited"] for game in known.values()] == [True, True, False]
    assert "below the floor of 0.1" in known[games[0].game]["notes"][0]


@pytest.mark.parametrize("game", ["bigfish", "starpilot"])
def test_frames_show_the_same_state_in_both_views(game):
    pixels, labels = twin_frames(ProcgenOptions(game))
    assert pixels.shape == labels.shape == (192, 192, 3)
    assert np.array_equal(pixels, twin_frames(ProcgenOptions(game))[0])
    assert len(np.unique(labels.reshape(-1, 3), axis=0)) < len(np.unique(pixels.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("appearance", [[], ["no-backgrounds", "restricted-themes"]])
def test_frames_show_the_game_as_the_learners_saw_it(appearance):
    run = {"view": "pixels", "distribution_mode": "hard", "appearance": appearance}
    settings = {"plan": {"games": [{"teacher": None, "runs": [run]}]}}
    games = [
        diagnosis(game, 0.02 * place, 0.3 - 0.03 * place, settings=settings)
        for place, game in enumerate(list(GAMES)[:7])
    ]
    taxonomy = Taxonomy(SurveyTables.of(games))
    shown = page_data(taxonomy)["games"]["coinrun"]["frames"][0]
    frame = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))).convert("RGB"))
    plain = {"use_backgrounds": False, "restrict_themes": True} if appearance else {}
    wanted = twin_frames(ProcgenOptions("coinrun", "hard", **plain))[0]
    assert np.abs(frame.astype(int) - wanted).mean() < 3  # of 256: the page's colours are fewer


in_a_browser = pytest.mark.costly("analyses/templates/*")


@pytest.fixture(scope="module")
def browser():
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    quiet = ("background-networking", "component-update", "sync", "gpu")
    for argument in ("headless=new", "no-sandbox", "no-first-run", *(f"disable-{what}" for what in quiet)):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def open_at(browser, page, width, height, scheme="light"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(page.as_uri())


def column(browser, number):
    return [
        cell.text.split(" ")[0].replace("\N{MINUS SIGN}", "-")
        for cell in browser.find_elements("css selector", f"#games tbody td:nth-child({number})")
    ]


@in_a_browser
def test_hovering_and_sorting_work_without_an_error(browser, page):
    from selenium.webdriver.common.action_chains import ActionChains

    open_at(browser, page, 1240, 1400)
    title = browser.find_element("id", "detail-title")
    before = title.text
    point = browser.find_elements("css selector", "#map .scatterlayer .trace .point")[-1]
    ActionChains(browser).move_to_element(point).pause(0.5).perform()
    assert title.text != before
    assert title.text.split(":")[0] in GAMES
    assert browser.find_element("id", "detail-pixels").get_attribute("naturalWidth") == "192"
    for section in ("map", "detail-curves", "detail-parts", "seeds", "steps", "cheap"):
        assert browser.find_elements("css selector", f"#{section} svg.main-svg"), section

    first = browser.find_elements("css selector", "#verdicts button")[0]
    first.click()
    assert title.text.startswith(first.get_attribute("data-game"))

    buttons = browser.find_elements("css selector", "#games th button")
    assert [button.text for button in buttons][:4] == ["game", "class", "P", "L"]
    buttons[0].click()
    assert column(browser, 1) == sorted(column(browser, 1))
    browser.find_elements("css selector", "#games th button")[2].click()
    values = [float(text) for text in column(browser, 3)]
    assert values == sorted(values, reverse=True)
    browser.find_elements("css selector", "#games th button")[2].click()
    assert [float(text) for text in column(browser, 3)] == values[::-1]
    row = browser.find_elements("css selector", "#games tbody tr")[0]
    row.click()
    assert title.text.startswith(row.get_attribute("data-game"))
    assert browser.get_log("browser") == []


@in_a_browser
def test_names_on_the_map_do_not_lie_on_each_other(browser, tmp_path):
    crowd = {(0.02 + 0.01 * place, 0.05 + 0.012 * (place % 3)): 1 for place in range(12)}
    write_report(Taxonomy(SurveyTables.of(survey(crowd | {(0.4, 0.5): 4}))), tmp_path / "crowd.html")
    for width in (390, 1240):
        open_at(browser, tmp_path / "crowd.html", width, 900)
        boxes = browser.execute_script(
            "return [...document.querySelectorAll('#map .textpoint text')].filter(text => text.textContent)"
            ".map(text => text.getBoundingClientRect()).map(box => [box.left, box.top, box.right, box.bottom])"
        )
        assert len(boxes) >= 6
        for number, (left, top, right, bottom) in enumerate(boxes):
            for other in boxes[:number]:
                wide, high = min(right, other[2]) - max(left, other[0]), min(bottom, other[3]) - max(top, other[1])
                shared = max(0, wide) * max(0, high)
                assert shared <= 0.4 * (right - left) * (bottom - top), width


@in_a_browser
@pytest.mark.parametrize("width", [320, 390, 400, 700, 941, 1200])
def test_nothing_scrolls_sideways_at_any_width(browser, page, width):
    """Not the page, and no table within it; a row that has no room becomes a card with headings of its own."""
    open_at(browser, page, width, 844)
    browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    wider = browser.execute_script(
        "const html = document.documentElement, all = [...document.querySelectorAll('main, main *:not(svg *)')];"
        "const sideways = all.filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 1"
        " && ['auto', 'scroll'].includes(getComputedStyle(each).overflowX));"
        "const beyond = all.filter(each => each.getBoundingClientRect().right > html.clientWidth + 1);"
        "return [html.scrollWidth - html.clientWidth, sideways.map(each => each.innerHTML.slice(0, 80)),"
        " beyond.map(each => each.outerHTML.slice(0, 80))]"
    )
    assert wider == [0, [], []]
    row = browser.find_element("css selector", "#games tbody tr")
    tops = {cell.rect["y"] for cell in row.find_elements("css selector", "td")}
    assert (len(tops) > 1) == (width < 941)
    heading = browser.execute_script(
        "return getComputedStyle(arguments[0], '::before').content", row.find_elements("css selector", "td")[2]
    )
    assert heading == ('"P"' if width < 941 else "none")
    buttons = browser.find_elements("css selector", "#games th button")
    buttons[2].click()
    values = [
        float(cell.text.replace("P", "").split()[0].replace("\N{MINUS SIGN}", "-"))
        for cell in browser.find_elements("css selector", "#games tbody td:nth-child(3)")
    ]
    assert values == sorted(values, reverse=True)


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_theme(browser, page, scheme):
    open_at(browser, page, 390, 844, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(number) for number in re.findall(r"\d+", paper)[:3]])
    assert (brightness > 128) == (scheme == "light")
    ink = browser.execute_script("return document.querySelector('#map .xtitle').style.fill")
    assert (np.mean([int(number) for number in re.findall(r"\d+", ink)[:3]]) > 128) == (scheme == "dark")
    assert browser.get_log("browser") == []
