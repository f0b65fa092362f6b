"""`lcd audit`: from tables of scores in every layout to tables, claims, a figure and a page."""

from __future__ import annotations

import base64
import inspect
import json
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import lcd

from lcd.cli.audit import command
from lcd.measurement.game_subsets import smallest_set
from lcd.measurement.method_scores import MethodScores
from lcd.studies.audit.audit import audit
from lcd.studies.audit.claims import signed
from lcd.studies.audit.columns import COLUMNS
from lcd.studies.audit.comparing import compared, replicates
from lcd.studies.audit.grouping import constants_of, read_groups
from lcd.studies.audit.reading import MOST_GAMES, ScoreTable, read_scores

DOCS = Path(__file__).parents[1] / "docs"
PUBLISHED = DOCS / "audit" / "procgen-hard.csv"
GAMES = [f"g{number}" for number in range(8)]


def known_rows(seeds=5) -> pd.DataFrame:
    """A long table with a row a seed: B gains 0.3 in six games and loses 0.3 in the two of one class; C gains."""
    random = np.random.default_rng(0)
    truths = {"A": 0.0, "B": 0.3, "C": 0.1, **{f"D{number}": 0.02 * number for number in range(6)}}
    rows = [
        {
            "method": method,
            "game": game,
            "seed": seed,
            "split": split,
            "score": (-truth if method == "B" and game in GAMES[:2] else truth)
            + 0.03 * random.standard_normal()
            - 0.1 * (split == "test"),
        }
        for method, truth in truths.items()
        for game in GAMES
        for seed in range(seeds)
        for split in ("train", "test")
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("known")
    known_rows().to_csv(folder / "scores.csv", index=False)
    classes = pd.DataFrame({"game": GAMES, "class": ["hard to see"] * 2 + ["hard to decide"] * 6})
    classes.to_csv(folder / "classes.csv", index=False)
    pd.DataFrame({"game": GAMES, "random": 0.0, "best": 1.0}).to_csv(folder / "constants.csv", index=False)
    return folder


def written(folder: Path, text: str) -> Path:
    file = folder / "scores.csv"
    file.write_text(inspect.cleandoc(text) + "\n")
    return file


def means(table: ScoreTable, split: str) -> dict[str, list[float]]:
    scores = table.scores(split)
    return dict(zip(scores.methods, scores.means.tolist(), strict=True))


def test_all_layouts_hold_the_same_scores(tmp_path):
    layouts = {
        "long": "method,game,split,score\na,u,train,1\na,u,test,2\na,v,train,3\na,v,test,4\nb,u,train,5\nb,u,test,6\n"
        "b,v,train,7\nb,v,test,8",
        "splits in columns": "Method,game,train,Test\na,u,1,2\na,v,3,4\nb,u,5,6\nb,v,7,8",
        "wide": "method,levels,u,v\na,training,1,3\na,unseen,2,4\nb,training,5,7\nb,unseen,6,8",
        "wide, splits in names": "method,u_train,u_test,v (train),v (test)\na,1,2,3,4\nb,5,6,7,8",
    }
    for name, text in layouts.items():
        table = read_scores(written(tmp_path, text))
        assert means(table, "train") == {"a": [1, 3], "b": [5, 7]}, name
        assert means(table, "test") == {"a": [2, 4], "b": [6, 8]}, name
        assert table.splits == ["test", "train"]


def test_rows_of_seeds_become_means_with_errors(tmp_path):
    file = written(tmp_path, "method,seed,u,v\na,0,1,1\na,1,3,\nb,0,0,4\nb,1,0.5,4.5")
    scores = read_scores(file).scores("test")
    assert scores.means.tolist() == [[2, 1], [0.25, 4.25]]
    assert scores.squared_errors[0].tolist() == pytest.approx([2 / 2, 0.125])  # one run: the variance of b, in v
    assert scores.freedom.tolist() == [[1, 1], [1, 1]]


def test_a_standard_deviation_counts_only_with_its_seeds(tmp_path):
    text = "method,game,mean,std\na,u,1,0.3\na,v,1,0.3\nb,u,1,0.3\nb,v,1,0.3"
    file = written(tmp_path, text)
    assert np.isnan(read_scores(file).scores("test").squared_errors).all()
    assert read_scores(file, seeds=3).scores("test").squared_errors == pytest.approx(0.03)


def test_entries_are_named_by_what_tells_them_apart(tmp_path):
    file = written(
        tmp_path,
        """
        method,publication,steps,u,v
        PPO,one,25000000,1,1
        PPO,one,50000000,1,1
        PPO,two,25000000,1,1
        PPG,one,50000000,1,1
        """,
    )
    names = list(read_scores(file).entries["entry"])
    assert names == ["PPO, 25M [one]", "PPO, 50M [one]", "PPO, 25M [two]", "PPG"]
    chosen = read_scores(file, where=["steps=25000000", "publication=one", "publication=two"])
    assert list(chosen.entries["entry"]) == ["PPO [one]", "PPO [two]"]
    assert list(read_scores(file, where=["Steps=50000000", "Publication=one"]).entries["entry"]) == ["PPO", "PPG"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["cannot be read as a table"]),
        ("game,score\nu,1", ["no column 'method'", "game, score"]),
        ("method,game,value\na,u,1", ["no column 'score'"]),
        ("method,game,score,spilt\na,u,1,test", ["column 'spilt'", "rename or remove", "split"]),
        ("method,game,score,mean\na,u,1,1", ["several columns for 'score'", "keep one"]),
        ("method,u,u\na,1,2", ["several columns for 'u'"]),
        ("method,,u\na,1,2", ["column without a name"]),
        ("method,game,score\na,u,good\na,v,1", ["'good'", "score of 'a' in 'u'", "line 2", "number"]),
        ("method,u,v\na,1,2\nb,1,see text", ["'see text'", "'b' in 'v'", "line 3"]),
        ("method,game,score\na,u,inf\na,v,1", ["'inf'", "number"]),
        ("method,game,score\na,u,1e300\na,v,1", ["'1e300'"]),
        ("method,game,score,seeds\na,u,1,0\na,v,1,3", ["'0'", "at least 1"]),
        ("method,game,score\na,u,1\na,u,2\na,v,1", ["two scores of 'a' in 'u'", "lines 2 and 3", "seed"]),
        ("method,seed,u,v\na,0,1,2\na,0,1,2", ["two scores of 'a' in 'u'", "lines 2 and 3"]),
        ("method,game,score\na,u,1\nb,u,1\nb,v,1", ["a has scores in one game only", "remove such rows"]),
        ("method,u,v\na,1,2", ["1 methods and 2 games", "larger table"]),
        ("method,u,v,w,x\na,1,2,,\nb,,,1,2", ["No two methods have two games in common"]),
        ("method,game,score\na,,1", ["lacks a game in line 2"]),
        ("method,u,v\n,1,2", ["lacks a method in line 2"]),
        ("method,game,score,split\na,u,1,middle", ["'middle'", "train or test"]),
        ("method,game,score,mode\na,u,1,easy\na,u,1,hard", ["several modes", "--where mode=easy"]),
        ("method,game,score,seed,std\na,u,1,0,0.1", ["seed and std"]),
        ("method,std,u\na,1,2", ["no column 'game'"]),
        ("method,game,score,train\na,u,1,1", ["both 'score' and 'train'"]),
        ("method,u_train,v\na,1,2", ["names the split of some games", "'v'"]),
        ("method,split,u_train,v_train\na,test,1,2", ["'split' besides"]),
        ("method,game,score\n$x^2$,u,1", ["'$x^2$'", "no name"]),
        ("method,u,v\na,,\nb,,", ["holds no score"]),
        ("method,game,score", ["no rows below its first line"]),
        ('method,"ga\nme",score\na,u,1', ["no rows below its first line"]),
        ("method\na", ["no column of a game"]),
        ("method,u,v\na,1,2,3", ["cannot be read as a table"]),
        ("method,game,score\ra,u,1\ra,v,2\rb,u,1\rb,v,2\r", ["first line that cannot be read"]),
        ("method,u,v,Average\na,1,2,1.5\nb,2,1,1.5", ["'Average'", "summary"]),
        ("method,u,v,mean\na,1,2,1.5\nb,2,1,1.5", ["if each game has its own"]),
        ("method,game,score,std,seeds\na,u,1,1,2.5\na,v,1,1,2\nb,u,1,1,2\nb,v,1,1,2", ["'2.5'", "whole"]),
        ("method,game,score\na,u,1\na,v,1\nb,u,1\nb,v,1\nc,u,1", ["one game only", "--where 'method!=c'"]),
        ("method," + ",".join(f"g{n}" for n in range(MOST_GAMES + 1)) + ("\na" + ",1" * (MOST_GAMES + 1))
         + ("\nb" + ",1" * (MOST_GAMES + 1)), [f"{MOST_GAMES + 1} games", "--where"]),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_in_a_sentence(tmp_path, text, words):
    written(tmp_path, text)
    done = lcd("audit", "scores.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]


def test_tables_that_are_too_large_are_refused_before_they_are_read(tmp_path, monkeypatch):
    from lcd.studies.audit import reading

    file = written(tmp_path, "method,u,v\na,1,2\nb,1,2")
    monkeypatch.setattr(reading, "LARGEST_TABLE", 10)
    with pytest.raises(ValueError, match="at most 10 bytes"):
        read_scores(file)
    monkeypatch.undo()
    monkeypatch.setattr(reading, "MOST_VALUES", 5)
    monkeypatch.setattr(reading, "parse_csv", None)
    with pytest.raises(ValueError, match="more than 5 values"):
        read_scores(file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lost.csv"], ["lost.csv", "check the path"]),
        (["/dev/zero"], ["/dev/zero", "a device"]),
        (["scores.csv", "--baseline", "E"], ["no method 'E'", "A, B, C"]),
        (["scores.csv", "--where", "game"], ["COLUMN=VALUE"]),
        (["scores.csv", "--where", "color=red"], ["COLUMN=VALUE", "method, game"]),
        (["scores.csv", "--where", "game=chess"], ["game = chess", "g0"]),
        (["scores.csv", "--split", "both"], ["'both'", "test and train"]),
        (["scores.csv", "--error-rate", "2"], ["error_rate", "0.5"]),
        (["scores.csv", "--agreement", "nan"], ["agreement must be finite"]),
        (["scores.csv", "--taxonomy", "other.csv"], ["other.csv groups none of the games"]),
        (["scores.csv", "--taxonomy", "constants.csv"], ["no column of texts"]),
        (["scores.csv", "--constants", "classes.csv"], ["no column 'random'"]),
        (["scores.csv", "--out", "scores.csv"], ["scores.csv is a file"]),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(known, arguments, words):
    (known / "other.csv").write_text("game,class\nchess,board\n")
    before = sorted(known.iterdir())
    done = lcd("audit", *arguments, cwd=known)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert sorted(known.iterdir()) == before


def test_rows_can_be_left_out(tmp_path):
    file = written(tmp_path, "method,game,score\na,u,1\na,v,1\nb,u,1\nb,v,1\nc,u,1\nd,u,1\nd,v,2\n")
    found = read_scores(file, where=["method!=c", "method != d"])
    assert found.entries["method"].tolist() == ["a", "b"]
    with pytest.raises(ValueError, match=r"No row of .* is left by --where game!=u --where game!=v"):
        read_scores(file, where=["game!=u", "game!=v"])


def test_a_game_in_which_all_are_equal_brings_no_error(tmp_path):
    """On the range between the worst and the best method it counts as 0 for all, whatever its spread over seeds."""
    rows = ["method,game,seed,score"]
    for number, method in enumerate(("a", "b", "c", "d")):
        for game in ("u", "v", "w", "same"):
            for seed in range(3):
                value = 100 + 30 * (seed - 1) if game == "same" else number + 0.1 * (seed - 1)
                rows.append(f"{method},{game},{seed},{value}")
    found = audit(written(tmp_path, "\n".join(rows)), baseline="a")
    (best,) = found.gains.query("improvement == 'd' and group == 'all'").to_dict("records")
    assert best["gain"] == pytest.approx(3 / 4)
    assert best["high"] - best["low"] < 0.2
    assert found.repeatability["tau"][0] > 0.9


def test_methods_that_share_the_first_place_are_both_named(tmp_path):
    file = written(tmp_path, "method,game,score\na,u,1\na,v,2\nb,u,2\nb,v,1\nc,u,0\nc,v,0\n")
    found = audit(file)
    assert set(found.influence["first"]) == {"a and b"}
    assert found.choices["first"].iloc[0] == "a and b"
    (text,) = [claim.text for claim in found.claims if "The first, " in claim.text]
    assert "The first, a and b, changes: a without u, b without v." in text


def test_games_under_other_names_are_told_and_methods_that_are_equal_decide_nothing(tmp_path):
    file = written(tmp_path, "method,game,score\na,u,1\na,v,2\nb,u,2\nb,v,1\n")
    (tmp_path / "classes.csv").write_text("game,class\nu ,p\nw,q\n")
    texts = [claim.text for claim in audit(file, tmp_path / "classes.csv").claims]
    assert texts[0].startswith("The taxonomy groups games that have no scores: w. These have scores and are in no")
    assert "All methods have the same mean, so that there is no ranking for a game to decide." in texts
    assert not any("nan" in text for text in texts)


def test_constants_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "constants.csv").write_text("game,random,best\nu,0,1\nu,0,2\n")
    with pytest.raises(ValueError, match=r"has constants of 'u' twice: remove one row"):
        constants_of(("u",), None, tmp_path / "constants.csv")
    (tmp_path / "constants.csv").write_text("game,random,best\nu,1,1\n")
    with pytest.raises(ValueError, match=r"constants of 'u' that cannot be.*must exceed"):
        constants_of(("u",), None, tmp_path / "constants.csv")
    with pytest.raises(ValueError, match="no constants of 'v'"):
        constants_of(("v",), None, tmp_path / "constants.csv")


def test_procgens_constants_need_the_mode():
    assert constants_of(("maze", "heist"), None) is None
    assert constants_of(("maze", "chess"), "hard") is None
    found = constants_of(("maze", "heist"), "hard")
    assert found is not None
    assert [each.tolist() for each in found] == [[4, 2], [10, 10]]


def test_a_taxonomys_classes_and_verdicts_group_games(tmp_path):
    found = read_groups(DOCS / "taxonomy")
    positions = pd.read_csv(DOCS / "taxonomy" / "positions.csv")
    assert found.keys() == {"class", "verdict"}
    assert "inconclusive" not in found["verdict"]
    assert sum(map(len, found["class"].values())) == len(positions)
    table = tmp_path / "groups.csv"
    table.write_text("game,genre,size,board\nu,maze,1,\nv,maze,2,square\n")
    assert read_groups(table) == {"genre": {"maze": ["u", "v"]}, "board": {"square": ["v"]}}
    table.write_text("game,all\nu,maze\nv,shooter\n")
    with pytest.raises(ValueError, match="column 'all'"):
        read_groups(table)
    table.write_text("game,genre\nu,maze\nu,maze\n")
    with pytest.raises(ValueError, match="game 'u' twice"):
        read_groups(table)


def test_the_known_loss_is_found_and_claimed(known):
    found = audit(known / "scores.csv", known / "classes.csv", baseline="A", constants=known / "constants.csv")
    losses = found.gains[found.gains["hidden_loss"]]
    assert set(losses["improvement"]) == {"B"}
    assert set(losses["group"]) == {"hard to see", "g0", "g1"}
    assert losses["gain"].to_numpy() == pytest.approx(-0.3, abs=0.06)
    assert any("B against A" in claim.text and "hard to see" in claim.text for claim in found.claims)
    assert (found.split, found.normalisation) == ("test", "range")
    assert {claim.table for claim in found.claims} <= found.as_tables().keys()


def test_without_a_baseline_all_pairs_are_compared_and_the_better_is_the_improvement(known):
    found = audit(known / "scores.csv", constants=known / "constants.csv")
    whole = found.gains[found.gains["grouping"] == "all"]
    assert len(whole) == 9 * 8 // 2
    assert (whole["gain"] >= 0).all()


def test_an_entry_of_unknown_steps_is_compared_where_the_baseline_has_one_budget():
    """Else the first row of the table would decide."""
    names = ("PPO 25M", "PPO 200M", "New")
    entries = pd.DataFrame(
        {
            "entry": names,
            "method": ["PPO", "PPO", "New"],
            "steps": [25e6, 200e6, np.nan],
            "publication": ["one", "one", "other"],
        }
    )
    shape = (3, 2)
    scores = MethodScores(names, ("u", "v"), np.arange(6.0).reshape(shape), np.ones(shape), np.ones(shape))
    assert compared(entries, scores, "PPO") == []
    assert replicates(entries, scores) == []
    (found,) = compared(entries[entries["steps"] != 200e6], scores, "PPO")
    assert (found.improvement, found.baseline) == (2, 0)


@pytest.mark.parametrize("order", [1, -1])
def test_a_baseline_of_the_same_steps_goes_before_one_of_unknown_steps(order):
    names = ("PPO", "PPO 25M", "New")[::order]
    steps = {"PPO": np.nan, "PPO 25M": 25e6, "New": 25e6}
    entries = pd.DataFrame(
        {
            "entry": names,
            "method": [name.split()[0] for name in names],
            "steps": [steps[name] for name in names],
            "publication": [None] * 3,
        }
    )
    shape = (3, 2)
    scores = MethodScores(names, ("u", "v"), np.arange(6.0).reshape(shape), np.ones(shape), np.ones(shape))
    (found,) = compared(entries, scores, "PPO")
    assert names[found.baseline] == "PPO 25M"


def test_both_splits_are_ranked(known):
    found = audit(known / "scores.csv", constants=known / "constants.csv", split="train")
    assert set(found.rankings["split"]) == {"train", "test"}
    assert set(found.choices["split"]) == {"train", "test"}
    other = found.choices[found.choices["split"] == "test"].iloc[0]
    assert (other["normalisation"], other["aggregate"]) == ("range", "mean")
    assert other["tau"] > 0.6
    assert found.choices.iloc[0][["split", "tau", "changed"]].tolist() == ["train", 1, 0]


def test_missing_cells_and_methods_without_all_games_are_left_out_of_the_ranking_only(tmp_path):
    rows = known_rows()
    rows = rows[~((rows["method"] == "C") & rows["game"].isin(GAMES[:4]))]
    rows.to_csv(tmp_path / "scores.csv", index=False)
    found = audit(tmp_path / "scores.csv", baseline="A")
    assert "C" not in set(found.rankings["method"])
    assert "C" in set(found.gains["improvement"])
    entries = found.entries.set_index(["entry", "split"])
    assert entries.loc[("C", "test"), ["games", "ranked"]].tolist() == [4, False]


def test_publications_of_one_method_tell_the_noise(tmp_path):
    """Two publications of the baseline differ by a known spread, and one copies another."""
    random = np.random.default_rng(3)
    rows = []
    for publication in ("one", "two", "copy"):
        spread = 0.0 if publication == "copy" else 0.1
        shift = spread * random.standard_normal(8)
        if publication == "one":
            first = shift
        for place, game in enumerate(GAMES):
            value = first[place] if publication == "copy" else shift[place]
            rows.append(("PPO", publication, game, value))
            rows.append((f"new {publication}", publication, game, value + 0.5))
    table = pd.DataFrame(rows, columns=["method", "publication", "game", "score"])
    table.to_csv(tmp_path / "scores.csv", index=False)
    pd.DataFrame({"game": GAMES, "random": 0, "best": 1}).to_csv(tmp_path / "constants.csv", index=False)
    found = audit(tmp_path / "scores.csv", baseline="PPO", constants=tmp_path / "constants.csv")
    assert (found.noise_by_game["freedom"] == 1).all()  # without the copy
    expected = np.array([first, table[(table["method"] == "PPO") & (table["publication"] == "two")]["score"]])
    assert found.noise_by_game["deviation"].to_numpy() == pytest.approx(expected.std(axis=0, ddof=1))
    assert found.noise["gains_of"].tolist() == ["all", "within a publication"]
    assert found.noise["share"].iloc[0] < 0.3


def test_tables_are_described_and_the_same_every_time(known):
    arguments = (known / "scores.csv", known / "classes.csv")
    first, again = (audit(*arguments, baseline="A").as_tables() for _ in range(2))
    assert first.keys() == COLUMNS.keys()
    for name, table in first.items():
        assert list(table.columns) == list(COLUMNS[name]), name
        pd.testing.assert_frame_equal(table, again[name])


@pytest.fixture(scope="module")
def folder(known):
    options = ("--taxonomy", "classes.csv", "--baseline", "A", "--constants", "constants.csv", "--out", "my audit")
    done = lcd("audit", "scores.csv", *options, cwd=known)
    assert done.returncode == 0, done.stderr
    return known / "my audit", done.stdout


def test_the_command_writes_tables_figure_and_page_and_prints_the_claims(folder):
    written_to, said = folder
    assert {file.stem for file in written_to.glob("*.csv")} == COLUMNS.keys()
    assert {"audit.png", "report.html", "plan.json"} <= {file.name for file in written_to.iterdir()}
    assert "Losses that a mean gain hides" in said
    assert "B against A" in said
    assert "(gains.csv)" in said
    assert json.loads((written_to / "plan.json").read_text()) == {"format": "lcd.audit/1"}


def test_every_claim_of_the_page_leads_to_its_table_and_command(folder):
    written_to, _ = folder
    page = (written_to / "report.html").read_text("utf-8")
    claims = re.findall(r"<li>(.*?)</li>", page)
    assert len(claims) > 8
    for claim in claims:
        (table,) = re.findall(r'href="#table-(\w+)"', claim)
        assert f'<section id="table-{table}"' in page
        assert 'href="#command"' in claim
    wanted = "lcd audit scores.csv --taxonomy classes.csv --baseline A --constants constants.csv --out"
    assert re.search(r'<pre id="command">(.*?)</pre>', page)[1].startswith(wanted)
    links = dict(re.findall(r'download="(\w+)\.csv" href="data:text/csv;base64,([^"]+)"', page))
    assert links.keys() == COLUMNS.keys()
    for name, content in links.items():
        table = pd.read_csv(StringIO(base64.b64decode(content).decode()))
        pd.testing.assert_frame_equal(table, pd.read_csv(written_to / f"{name}.csv"))
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]+", page)


def test_names_in_the_page_are_text(tmp_path):
    rows = known_rows(2).replace({"method": {"B": "<script>alert(1)</script>"}})
    rows.to_csv(tmp_path / "scores.csv", index=False)
    audit(tmp_path / "scores.csv", baseline="A", out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_folder_of_something_else_is_refused_before_the_work(known, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="files that the LCD did not write"):
        audit(known / "scores.csv", out=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_small_tables_without_errors_are_audited_as_far_as_they_go(tmp_path):
    file = written(tmp_path, "method,u,v,w\na,1,2,3\nb,2,1,4")
    found = audit(file, out=tmp_path / "out")
    text = " ".join(claim.text for claim in found.claims)
    assert "nothing can be tested" in text
    assert "too few to test a set" in text
    assert "by two publications" in text
    assert (tmp_path / "out" / "audit.png").is_file()


def test_equal_methods_are_no_error(tmp_path):
    file = written(tmp_path, "method,u,v,w\na,1,2,3\nb,1,2,3\nc,1,2,3")
    text = " ".join(claim.text for claim in audit(file, out=tmp_path / "out").claims)
    assert "no ranking for a game to decide" in text
    assert "nan" not in text


def test_the_command_and_the_function_have_the_same_options_and_defaults():
    of_command, of_function = (
        {name: each.default for name, each in inspect.signature(made).parameters.items()} for made in (command, audit)
    )
    assert of_command.pop("out") == Path("audit")  # a command always writes
    assert of_function.pop("out") is None
    assert of_command == of_function


def test_the_page_of_the_published_table_says_what_the_audit_of_it_finds():
    """docs/audit.md names findings; the tables beside it are what its command writes."""
    found = audit(PUBLISHED, DOCS / "taxonomy", baseline="PPO", seeds=1)
    for name in ("gains", "choices", "influence", "decided", "noise", "noise_by_game", "subsets", "repeatability"):
        kept = pd.read_csv(DOCS / "audit" / "ppo" / f"{name}.csv")
        now = pd.read_csv(StringIO(found.as_tables()[name].to_csv(index=False)))
        pd.testing.assert_frame_equal(kept, now, rtol=1e-4, atol=1e-5)
    page = " ".join((DOCS / "audit.md").read_text("utf-8").split())
    losses = found.gains[found.gains["hidden_loss"]]
    assert len(losses) > 0
    for row in losses.to_dict("records"):
        assert f"{signed(row['gain'])} [{signed(row['low'])}, {signed(row['high'])}]" in page
    shares = found.noise.set_index("gains_of")["share"]
    assert f"{shares['within a publication']:.0%}".replace("%", " %") in page
    chosen = smallest_set(found.subsets, 0.9)
    assert chosen is not None
    assert chosen["games"] in page


def test_numbers_in_columns_of_texts_are_texts(tmp_path):
    file = written(
        tmp_path,
        """
        Method, Game, Score, Publication, Steps
        PPO, 1, 0.5, 2019, 25000000
        PPO, 2, 0.6, 2019, 25000000
        PPG, 1, 0.7, 2020, 25000000
        PPG, 2, 0.8, 2020, 25000000
        """,
    )
    found = audit(file, where=["steps=25000000"])
    assert set(found.entries["publication"]) == {"2019", "2020"}
    assert set(found.entries["games"]) == {2}


def test_gains_and_rankings_have_one_scale_and_a_shared_first_place_is_no_further_method(tmp_path):
    """An incomplete method has extreme scores, by which the ranked ones would hardly differ."""
    rows = {"A": (10, 0, 5), "B": (6, 1, 5), "C": (5, 0.5, 4.9), "D": (None, 100, -100)}
    table = pd.DataFrame(rows, index=["x", "y", "z"]).T
    table.reset_index(names="method").to_csv(tmp_path / "scores.csv", index=False)
    found = audit(tmp_path / "scores.csv")
    first = found.choices.iloc[0]["first"]
    assert set(found.influence["first"]) == {first}
    number = next(claim.text for claim in found.claims if "choices" in claim.text and "first" in claim.text)
    named = {name for each in found.choices["first"] for name in each.split(" and ")}
    assert f"choices {len(named)} method" in number
