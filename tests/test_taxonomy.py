"""Positions, classes and the reliability of a taxonomy, against surveys whose demands are known."""

from __future__ import annotations

import class_coverage
import numpy as np
import pandas as pd
import pytest
from commands import lcd
from scipy import stats
from sklearn.metrics import adjusted_rand_score
from synthetic_survey import diagnosis, survey

from lcd.envs import GAMES
from lcd.measurement.intervals import cell_samples
from lcd.measurement.scores import LEVELS, PRIMARY, SCORES, late_gains
from lcd.measurement.validity import RankCorrelation
from lcd.measurement.verdict import decide
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.taxonomy.agreement import cheap_agreement
from lcd.studies.taxonomy.cheaper import cheaper_designs
from lcd.studies.taxonomy.classes import find_classes
from lcd.studies.taxonomy.columns import COLUMNS
from lcd.studies.taxonomy.confirmation import class_parts, confirm
from lcd.studies.taxonomy.positions import PLANE, Cells, position_table
from lcd.studies.taxonomy.reliability import intraclass_correlation, seeds_table, split_half
from lcd.studies.taxonomy.students import student_table
from lcd.studies.taxonomy.taxonomy import FIGURES, Taxonomy, aggregate_table

GROUPS = {(0.02, 0.01): 4, (0.35, 0.08): 5, (0.10, 0.42): 7}
SHROUT_AND_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


@pytest.fixture(scope="module")
def taxonomy():
    return Taxonomy(SurveyTables.of(survey(GROUPS)))


def test_positions_are_the_demands_of_the_diagnoses():
    known = diagnosis("maze", 0.3, 0.2, noise=0.02)
    cells = Cells.of(known.scores)
    assert cells.positions()[0] == pytest.approx([known.perceptual.estimate, known.policy.estimate])
    exact = Cells.of(diagnosis("maze", 0.3, 0.2, noise=0).scores)
    assert exact.positions()[0] == pytest.approx([0.3, 0.2])
    assert np.allclose(exact.covariances(), 0)
    assert np.allclose(exact.draws(5), exact.positions())


def test_draws_scatter_as_the_errors_of_both_demands_do():
    cells = Cells.of(diagnosis("maze", 0.3, 0.2, noise=0.05, seeds=30).scores)
    drawn = cells.draws(20_000)[:, 0]
    assert np.cov(drawn.T) == pytest.approx(cells.covariances()[0], rel=0.15)
    assert cells.covariances()[0][0, 1] > 0  # both share cell d


@pytest.mark.costly()
def test_the_classes_are_the_groups_that_there_are(taxonomy):
    truth = [number for number, count in enumerate(GROUPS.values()) for _ in range(count)]
    classes = taxonomy.classes
    assert adjusted_rand_score(truth, classes.of_games) == 1
    assert classes.names == ("little to gain from either help", "hard to see", "hard to decide")
    assert classes.selection.loc[classes.selection["chosen"], "classes"].tolist() == [3]
    assert np.allclose(classes.membership.sum(axis=1), 1)
    again = Taxonomy(taxonomy.tables).classes
    assert np.array_equal(again.membership, classes.membership)


@pytest.mark.costly()
def test_one_cloud_of_games_is_one_class():
    clouds = (survey({(0.2, 0.2): 12}, spread=0.06, seed=seed) for seed in range(10))
    cells = (Cells.of(SurveyTables.of(cloud).scores) for cloud in clouds)
    found = [len(find_classes(each, draws=20, refits=5, nulls=39).names) for each in cells]
    assert found.count(1) >= 8, found


@pytest.mark.costly()
def test_groups_that_seeds_do_not_tell_apart_are_no_classes():
    groups = {(0.15, 0.2): 6, (0.2, 0.15): 6}
    clear, blurred = (
        find_classes(Cells.of(SurveyTables.of(survey(groups, spread=0.003, noise=noise, seed=3)).scores)).names
        for noise in (0.001, 0.15)
    )
    assert len(clear) == 2
    assert blurred == ("no classes told apart",)


def test_classes_of_the_same_kind_are_told_apart_by_degree():
    tables = SurveyTables.of(survey({(0.05, 0.2): 5, (0.1, 0.6): 5}, spread=0.01))
    assert Taxonomy(tables).classes.names == ("hard to decide, mildly", "hard to decide, strongly")


@pytest.mark.costly()
def test_games_whose_learners_stay_far_from_the_end_are_not_said_to_need_no_help():
    kinds = {top: {(0.0, 0.0): 6, (0.3, 0.3): 6} for top in (0.9, 0.4)}
    names = [
        Taxonomy(SurveyTables.of(survey(groups, spread=0.01, top=top))).classes.names for top, groups in kinds.items()
    ]
    assert names[0] == ("little to gain from either help", "hard to see and to decide")
    assert names[1] == ("little learned within the budget", "hard to see and to decide")


def test_a_new_game_is_placed_beside_the_games_that_are_like_it(taxonomy):
    placement = taxonomy.place(diagnosis("a game of its own", 0.34, 0.09, seed=77))
    members = set(taxonomy.positions.loc[taxonomy.positions["class"] == "hard to see", "game"])
    assert placement.classes.iloc[0]["class"] == "hard to see"
    assert placement.classes.iloc[0]["probability"] > 0.9
    assert placement.classes["probability"].sum() == pytest.approx(1)
    assert set(placement.nearest["game"].head(5)) == members
    assert placement.nearest["distance"].is_monotonic_increasing
    assert placement.position["perceptual"].item() == pytest.approx(0.34, abs=0.1)
    (chart, _) = taxonomy.plot(placed=[placement]).axes
    assert "a game of its own" in {text.get_text() for text in chart.texts}
    assert "placed: a game of its own" in {text.get_text() for text in chart.get_legend().get_texts()}
    assert "a game of its own" not in {text.get_text() for text in taxonomy.plot().axes[0].texts}
    with pytest.raises(ValueError, match="placed on the map"):
        taxonomy.plot("ranks", placed=[placement])
    with pytest.raises(ValueError, match="One game is placed at a time, not 16"):
        taxonomy.place(taxonomy.tables)
    shorter = diagnosis("a game of its own", 0.34, 0.09, seed=77)
    tables = SurveyTables.of([shorter])
    tables.games["budget"] = 50_000
    with pytest.raises(ValueError, match="budget = 100000, a game of its own with 50000: games that were not measured"):
        taxonomy.place(tables)


def test_intraclass_correlations_are_those_of_shrout_and_fleiss():
    single, mean = intraclass_correlation(SHROUT_AND_FLEISS)
    assert single == pytest.approx((0.1657, -0.1329, 0.7226), abs=5e-4)
    assert mean == pytest.approx((0.4428, -0.8844, 0.9124), abs=5e-4)
    assert intraclass_correlation([[1, 1], [2, 2]]) == ((1, 1, 1), (1, 1, 1))
    assert np.isnan(intraclass_correlation([[1, 1], [1, 1]])).all()  # nothing differs, and nothing is told apart
    with pytest.raises(ValueError, match="two games and two seeds"):
        intraclass_correlation([[1, 2]])


@pytest.mark.parametrize("seeds", [2, 3, 6, 30])
def test_split_halves_estimate_the_reliability_of_the_mean(seeds):
    random = np.random.default_rng(0)
    true, noise = random.standard_normal((4000, 1)), random.standard_normal((4000, seeds))
    assert split_half(true + noise) == pytest.approx(seeds / (seeds + 1), abs=0.02)
    assert intraclass_correlation(true + noise)[1][0] == pytest.approx(seeds / (seeds + 1), abs=0.02)


@pytest.mark.parametrize("seeds", [3, 8, 9, 10])
def test_split_halves_of_up_to_ten_seeds_do_not_depend_on_their_order(seeds):
    table = np.random.default_rng(0).standard_normal((12, seeds))
    assert split_half(table[:, ::-1]) == pytest.approx(split_half(table))
    assert np.isnan(split_half([[0, 2], [1, 1], [2, 0]]))  # the formula has a pole among negative correlations


@pytest.mark.costly()
@pytest.mark.parametrize(("seeds", "ways"), [(3, 3), (4, 6)])
def test_classes_of_some_seeds_are_tested_on_the_others(seeds, ways):
    groups = {(0.02, 0.01): 5, (0.35, 0.30): 5}
    clear = Taxonomy(SurveyTables.of(survey(groups, spread=0.01, seeds=seeds)))
    parts = clear.class_parts
    assert len(parts) == ways
    assert {len(chosen.split()) for chosen in parts["chosen_on"]} == {2}
    for row in parts.to_dict("records"):
        assert sorted(f"{row['chosen_on']} {row['tested_on']}".split()) == [str(place) for place in range(seeds)]
    assert parts["rand"].mean() > 0.9
    assert parts["classes"].median() == 2  # chosen on two seeds, without the others
    noisy = Cells.of(SurveyTables.of(survey(groups, spread=0.01, seeds=seeds, noise=0.4)).scores)
    assert class_parts(noisy, 2)["rand"].mean() < 0.5


def test_two_seeds_are_too_few_to_test_classes_on_others():
    cells = Cells.of(SurveyTables.of(survey({(0.02, 0.01): 3, (0.35, 0.30): 3}, seeds=2)).scores)
    families = pd.DataFrame([("training", "area", 1.0)] * 5, columns=["levels", "score", "rand"])
    found = confirm(class_parts(cells, 2), families)
    assert not found.confirmed
    assert str(found).startswith("There are too few seeds to test classes on others")


def test_classes_that_other_scores_do_not_give_are_not_confirmed():
    parts = pd.DataFrame({"rand": [1.0, 0.8]})
    families = pd.DataFrame(
        [(levels, score, 0.0) for levels in LEVELS for score in SCORES], columns=["levels", "score", "rand"]
    )
    alone = confirm(parts, families)
    assert (alone.confirmed, alone.scores, alone.other_scores) == (False, 0, 5)
    assert "agree by 0.90 (adjusted Rand index, 0.7 wanted), and 0 of the 5 other scores" in str(alone)
    families["rand"] = [1, 1, 0.7, 0.7, 0, 0]
    assert confirm(parts, families).confirmed
    assert not confirm(parts / 2, families).confirmed


def test_cheaper_designs_are_judged_by_what_the_whole_one_says():
    tables = SurveyTables.of(survey({(0.0, 0.4): 4, (0.3, 0.0): 4}, spread=0.01))
    found = cheaper_designs(tables.scores, tables.curves).set_index("design")
    assert found["cost"].is_monotonic_increasing
    assert found.loc["cells b, c and d", ["perceptual", "policy", "verdict", "decided"]].tolist() == [1, 1, 1, 1]
    assert found.loc["cells b, c and d", "cost"] == 0.75
    assert found.loc["20,000 steps", "cost"] == 0.2  # the curves of this survey rise at once
    one = found.loc["1 seed, the spread over seeds ignored"]
    assert one[["verdict", "contradicted"]].tolist() == [1, 0]
    assert one["cost"] == pytest.approx(1 / 3)
    alone = found.loc["cell a: generalisation"]  # sees a policy demand wherever the score is not the best
    assert (alone["perceptual"], alone["policy"], alone["decided"]) == (0.5, 0.5, 0)
    gain = found.loc["cells a and b: gain of perception"]
    assert gain[["policy", "verdict", "decided", "contradicted"]].isna().all()


def test_cheaper_designs_of_games_with_other_numbers_of_seeds_cost_what_they_train():
    games = [
        diagnosis(game, 0.3, 0.0, seeds=seeds, seed=seeds) for game, seeds in (("maze", 2), ("heist", 6), ("miner", 6))
    ]
    tables = SurveyTables.of(games)
    found = cheaper_designs(tables.scores, tables.curves).set_index("design")
    assert found.loc["1 seed, the spread over seeds ignored", "cost"] == pytest.approx(3 / 14)
    assert "2 seeds" not in found.index  # one game has no more
    many = SurveyTables.of([diagnosis(game, 0.3, 0.0, seeds=12) for game in ("maze", "heist", "miner")])
    found = cheaper_designs(many.scores, many.curves)
    assert set(found["design"]) >= {"2 seeds", "10 seeds"}
    assert "6 seeds" not in set(found["design"])


def test_reliability_is_also_that_of_the_games_that_were_learned():
    games = [
        *(diagnosis(game, 0.1 * place, 0.2, seed=place) for place, game in enumerate(GAMES) if place < 4),
        diagnosis("starpilot", 0.0, 0.0, top=0.05, joint=0.0),
    ]
    mixed = Taxonomy(SurveyTables.of(games))
    assert mixed.learned == [True] * 4 + [False]
    found = mixed.reliability.set_index(["games", "demand"])
    assert found["number"].to_dict() == {
        (games, demand): number for games, number in (("all", 5), ("learned", 4)) for demand in PLANE
    }
    assert found.loc[("learned", "perceptual"), "icc_mean"] > 0.9


def test_reliability_falls_with_noise(taxonomy):
    noisy = Taxonomy(SurveyTables.of(survey(GROUPS, noise=0.3)))
    for measure in ("icc_single", "icc_mean", "split_half", "rank_stability"):
        fallen = noisy.reliability[measure].fillna(0)  # halves of noise may not correlate at all
        assert (taxonomy.reliability[measure] > fallen).all(), measure
    assert (taxonomy.reliability["icc_mean"] > 0.95).all()
    ranks = taxonomy.ranks
    assert ((ranks["low"] <= ranks["rank"]) & (ranks["rank"] <= ranks["high"])).all()
    assert sorted(ranks.loc[ranks["demand"] == "policy", "rank"]) == list(range(1, 17))


def test_more_seeds_decide_more():
    tables = SurveyTables.of(survey({(0.12, 0.02): 4, (0.02, 0.12): 4}, noise=0.03, episodes=2))
    found = seeds_table(tables.scores, (2, 3, 10, 100))
    assert found["decided"].is_monotonic_increasing
    assert found["half_width"].is_monotonic_decreasing
    assert found["decided"].iloc[0] < found["decided"].iloc[-1] == 1
    assert (found[["icc_perceptual", "icc_policy"]].diff().iloc[1:] >= 0).to_numpy().all()


@pytest.mark.parametrize("error", [0.0, 0.05, np.nan])
def test_as_many_seeds_as_there_are_decide_what_is_decided(error):
    tables = SurveyTables.of(survey({(0.12, 0.02): 4, (0.02, 0.12): 4}, noise=0.01, episodes=2))
    scores = tables.scores.assign(area_error=error)
    table = position_table(scores)
    verdicts = [
        decide(*cell_samples(of_game, *PRIMARY), gains=late_gains(tables.curves[tables.curves["game"] == game])).name
        for game, of_game in scores.groupby("game")
    ]
    seeds = scores["seed"].nunique()
    found = seeds_table(scores, (seeds,)).iloc[0]
    assert found["decided"] == np.mean([name != "inconclusive" for name in verdicts])
    halves = [(table[f"{demand}_high"] - table[f"{demand}_low"]) / 2 for demand in PLANE]
    assert found["half_width"] == pytest.approx(np.median(halves))


@pytest.mark.costly()
def test_the_whole_budget_agrees_with_itself(taxonomy):
    steps = taxonomy.steps
    assert steps["steps"].is_monotonic_increasing
    assert steps[list(PLANE)].iloc[-1].tolist() == pytest.approx([1, 1])
    verdicts = taxonomy.tables.games["verdict"] != "inconclusive"
    assert steps["decided"].iloc[-1] == pytest.approx(verdicts.mean())
    primary = taxonomy.families.iloc[0]
    assert (primary["levels"], primary["score"], primary["perceptual"], primary["rand"]) == ("unseen", "area", 1, 1)


def test_the_cheap_estimate_is_compared_game_by_game(taxonomy):
    cheap = taxonomy.cheap
    assert len(cheap) == 2 * 16
    perceptual = cheap[cheap["demand"] == "perceptual"]
    assert np.allclose(perceptual["cheap"], 0.02)  # what synthetic learners lose on unseen levels, every one of them
    pairs = pd.DataFrame({"demand": "policy", "factorial": range(10), "cheap": range(10)})
    same, reverse = (cheap_agreement(pairs.assign(cheap=sign * pairs["cheap"])).iloc[0] for sign in (1, -1))
    assert same["spearman"] == pytest.approx(1)
    assert 0.5 < same["low"] < same["high"] <= 1
    assert [-reverse[name] for name in ("spearman", "high", "low")] == pytest.approx(same.iloc[1:].tolist())


def test_the_limits_of_a_rank_correlation_are_those_of_bonett_and_wright():
    def limits(correlation, games):
        return RankCorrelation(correlation, np.nan, games).limits()

    assert limits(0.5, 20) == pytest.approx((0.0451, 0.7830), abs=2e-4)  # by hand, from their formula
    assert limits(-1.0, 3) == (-1, 1)
    low, high = limits(1.0, 4)
    assert (low < 0, high < 1) == (True, True)  # four games in the same order by chance: one time in 24


def test_the_aggregates_are_over_all_games(taxonomy):
    means = taxonomy.aggregates[taxonomy.aggregates["measure"] == "mean"].set_index("demand")
    for demand in PLANE:
        row = means.loc[demand]
        assert row["estimate"] == pytest.approx(taxonomy.positions[demand].mean())
        assert row["low"] < row["estimate"] < row["high"]


def test_the_aggregates_are_those_of_rliable():
    """Limits that rliable 1.2's stratified bootstrap gave for a survey; its draws are others."""
    found = Taxonomy.read("procgen-easy").aggregates.set_index(["demand", "measure"])
    by_rliable = {
        ("perceptual", "interquartile mean"): (0.086885, 0.075795, 0.096107),
        ("perceptual", "mean"): (0.121460, 0.108327, 0.133322),
        ("policy", "interquartile mean"): (0.082881, 0.077000, 0.088951),
        ("policy", "mean"): (0.114324, 0.105917, 0.124074),
    }
    for row, (estimate, *limits) in by_rliable.items():
        assert found.loc[row, "estimate"] == pytest.approx(estimate, abs=1e-6)
        assert found.loc[row, ["low", "high"]].tolist() == pytest.approx(limits, abs=0.0015)


def test_aggregates_resample_seeds_within_games_only():
    rows = survey({(0.02, 0.01): 2, (0.3, 0.4): 2})  # games differ much, and seeds little
    table = aggregate_table(Cells.of(SurveyTables.of(rows).scores))
    assert (table["high"] - table["low"]).max() < 0.1 < np.ptp([0.02, 0.3])


def test_too_few_games_are_one_clear_sentence(tmp_path):
    with pytest.raises(ValueError, match="at least 3 games, not 1"):
        Taxonomy(SurveyTables.of([diagnosis("maze", 0.1, 0.1)]))
    missing = lcd("taxonomy", "nowhere", cwd=tmp_path)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "nowhere holds no diagnoses" in missing.stderr


@pytest.mark.costly("analyses/*.py")
def test_the_command_writes_tables_and_figures_and_places_a_game(tmp_path):
    taxonomy = Taxonomy(SurveyTables.of(survey({(0.02, 0.01): 3, (0.1, 0.42): 4})))
    taxonomy.tables.write(tmp_path / "survey")
    done = lcd("taxonomy", "survey", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    figures = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    assert figures | {"positions.csv", "membership.csv", "reliability.csv"} < set(written)
    assert b"/FontFile2" in written["taxonomy.pdf"]  # an embedded TrueType font
    positions = pd.read_csv(tmp_path / "out" / "positions.csv")
    assert positions["class"].tolist() == taxonomy.positions["class"].tolist()
    assert lcd("taxonomy", "survey", "--out", "out", cwd=tmp_path).returncode == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written

    (tmp_path / "new").mkdir()
    diagnosis("maze", 0.1, 0.42).to_json(tmp_path / "new" / "diagnosis.json")
    placed = lcd("taxonomy", "survey", "--place", "new", "--figure", "map.png", cwd=tmp_path)
    assert "hard to decide" in placed.stdout
    assert (tmp_path / "map.png").stat().st_size > 20_000
    alone = lcd("taxonomy", "survey", "--figure", "map.png", cwd=tmp_path)
    assert (alone.returncode, "name its diagnosis with --place" in alone.stderr) == (2, True)
    foreign = lcd("taxonomy", "survey", "--out", ".", cwd=tmp_path)
    assert foreign.returncode == 2
    assert "did not write" in foreign.stderr


def test_every_column_of_every_table_is_documented(taxonomy):
    tables = taxonomy.as_tables()
    assert {name: list(table.columns) for name, table in tables.items()} == {
        name: list(meanings) for name, meanings in COLUMNS.items()
    }
    probabilities = tables["membership"].groupby("game")["probability"].sum()
    assert probabilities.to_numpy() == pytest.approx(np.ones(len(taxonomy.positions)))


def test_students_are_shares_of_their_teachers():
    scores = pd.DataFrame(
        {
            "game": "maze",
            "view": ["pixels"] * 3 + ["semantic"] * 3,
            "learning": "imitation",
            "seed": [0, 1, 2] * 2,
            "levels": "training",
            "final": [0.1, 0.2, 0.3, 0.4, 0.4, 0.4],
        }
    )
    from_reward = scores.assign(learning="rl", final=9.0)
    games = pd.DataFrame({"game": ["maze"], "random": [2.0], "best": [12.0], "teacher_training": [10.0]})
    found = student_table(pd.concat([scores, from_reward]), games).set_index("view")
    assert found["teacher"].tolist() == pytest.approx([0.8, 0.8])
    assert found["student"].tolist() == pytest.approx([0.2, 0.4])
    assert found["share"].tolist() == pytest.approx([0.25, 0.5])
    assert found.loc["semantic", ["share_low", "share_high"]].tolist() == pytest.approx([0.5, 0.5])
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3) / 0.8
    assert found.loc["pixels", ["share_low", "share_high"]].tolist() == pytest.approx([0.25 - half, 0.25 + half])
    assert student_table(scores, games.assign(teacher_training=1.0))["share"].isna().all()
    optimal = games.assign(teacher_training=pd.Series([None], dtype=object))  # as a survey of games with one has it
    assert student_table(scores, optimal)[["teacher", "share"]].isna().all(axis=None)


def test_a_report_is_a_page(tmp_path):
    for arguments in (("--out", "page.pdf", "--pdf"), ("--out", "precious.txt")):
        refused = lcd("report", "procgen-easy", *arguments, cwd=tmp_path)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert f"{arguments[1]} must end in .html or .htm" in refused.stderr
    (tmp_path / "file").touch()
    refused = lcd("taxonomy", "procgen-easy", "--out", "file/below", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_game_is_not_its_own_neighbour_and_a_single_seed_has_no_place():
    games = [diagnosis(game, 0.1, 0.2) for game in ("maze", "heist", "coinrun")]
    found = Taxonomy(SurveyTables.of(games))
    assert sorted(found.place(games[0]).nearest["game"]) == ["coinrun", "heist"]
    with pytest.raises(ValueError, match=r"ninja has a cell of a single seed.*--seeds 2"):
        found.place(diagnosis("ninja", 0.1, 0.2, seeds=1))


def test_positions_say_which_demands_are_as_large_as_they_could_show():
    games = [
        diagnosis("maze", 0.45, 0.2, top=0.5),
        diagnosis("heist", 0.45, 0.45, top=0.5),
        diagnosis("miner", 0.2, 0.2),
    ]
    positions = Taxonomy(SurveyTables.of(games)).positions.set_index("game")
    assert positions["floor_limited"].to_dict() == {"maze": "perceptual", "heist": "perceptual policy", "miner": ""}


@pytest.mark.costly()
def test_a_single_cloud_is_split_by_chance_as_often_as_the_test_says():
    """With noise as large as the spread the mean chance was 0.70; of 9 sets drawn for the test it should be 0.55."""
    p_values = []
    for survey_seed in range(40):
        cells = class_coverage.drawn_cells(12, 1.0, 0.0, np.random.default_rng(survey_seed))
        selection = find_classes(cells, draws=2, refits=2, nulls=9, seed=survey_seed).selection
        p_values.append(selection.loc[selection["classes"] == 2, "p_value"].iloc[0])
    assert np.mean(p_values) == pytest.approx(0.55, abs=0.12)  # 2.6 standard errors
