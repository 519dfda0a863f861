"""Verdicts follow the figures, and the pages are what they should be."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from jinja2 import meta
from jinja2.nodes import Getattr

from pipeline.config import PROJECT_ROOT, BatchNormStudy
from pipeline.reporting import batch_norm_claims, batch_norm_speed, claims, gan_claims
from pipeline.reporting.claims import Ratio, Verdict, above, below, within
from pipeline.reporting.html import mathml, page
from pipeline.reporting.render import environment, in_cell, left_to_right, persian, render_text
from pipeline.reporting.report import STUDIES
from pipeline.studies.batch_norm_training import rates_of

TEMPLATES = "pipeline/reporting/templates"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def gradients(last: float) -> pd.DataFrame:
    """Three seeds; the saturating gradient ends at `last` times its first norm, the other at twice."""
    return pd.DataFrame(
        {
            "seed": seed,
            "step": step,
            "loss": loss,
            "norm": 1 + 0.01 * seed if step == 0 else {"saturating": last, "non-saturating": 2.0}[loss],
            "accepted": 0.01,
        }
        for seed in range(3)
        for step in (0, 100)
        for loss in ("saturating", "non-saturating")
    )


def test_a_verdict_follows_the_figures() -> None:
    vanished = gan_claims.vanishes({"gradients": gradients(0.001)})
    assert vanished.verdict == Verdict.HOLDS
    assert vanished.values["saturating"].startswith("0.00099 ×/÷ 1.0")
    assert gan_claims.vanishes({"gradients": gradients(0.9)}).verdict < Verdict.HOLDS


def endings(saturating: list[float], other: list[float]) -> pd.DataFrame:
    """Distances at the end of balanced trainings with Adam, a seed each."""
    return pd.DataFrame(
        {"seed": seed, "loss": loss, "optimizer": "adam", "head_start": 0, "discriminator_steps": 1, "distance": one}
        for loss, found in (("saturating", saturating), ("non-saturating", other))
        for seed, one in enumerate(found)
    )


def test_two_losses_do_as_well_only_where_the_whole_interval_says_so() -> None:
    alike = endings([10.0, 11.0, 12.0, 13.0], [10.1, 11.2, 11.9, 12.8])
    assert gan_claims.balanced({"final": alike}).verdict == Verdict.HOLDS
    cannot_tell = endings([10.0, 20.0, 12.0, 30.0], [20.0, 10.0, 30.0, 12.0])
    assert gan_claims.balanced({"final": cannot_tell}).verdict < Verdict.HOLDS, (
        "a mean of 1 over an interval that is wide"
    )
    assert gan_claims.balanced({"final": endings([10.0, 11.0], [20.0, 22.0])}).verdict < Verdict.HOLDS


def descents(saturating: float, other: float, overshot: float = 1.5) -> dict[str, pd.DataFrame]:
    """Trainings without Adam, a seed each: shares of the first distance at the nearest, and a tenth more at the end.

    Only the greater rate gets there; with the greatest all that follows is further off than the start.
    """
    ends = {1.0: 1.0, 256.0: overshot}
    return {
        "training": pd.DataFrame(
            {
                "seed": seed,
                "loss": loss,
                "optimizer": optimizer,
                "head_start": ahead,
                "discriminator_steps": 1,
                "rate": rate,
                "step": step,
                "distance": 100.0 * (ends.get(rate, nearest + 0.01 * seed + later) if step else 1),
                "covered": 1 + (loss == "non-saturating" and optimizer == "sgd") + (5 if rate != 16 else 0),
            }
            for seed in range(4)
            for loss, nearest in (("saturating", saturating), ("non-saturating", other))
            for optimizer in ("sgd", "momentum", "adam")
            for ahead in (0, 100)
            for rate in (1.0, 16.0, 256.0)
            for step, later in ((0, 0), (10, 0), (20, 0.1))
        )
    }


def test_a_loss_stalls_that_gets_nowhere_at_its_best_rate() -> None:
    claim = gan_claims.stalls(descents(0.97, 0.5))
    assert claim.verdict == Verdict.HOLDS
    assert claim.values["other_ahead"].startswith("52 ± "), "the nearest, at the best rate"
    assert claim.values["other_ahead_end"].startswith("62 ± ")
    assert claim.values["greatest"] == "256"
    assert claim.values["covered"] == "1.5 ± 0.0 (n = 4)", "at the best rate, and Adam's are not among them"
    assert gan_claims.stalls(descents(0.7, 0.5)).verdict == Verdict.CONTRADICTED, "a greater rate helps it as well"
    assert gan_claims.stalls(descents(0.97, 0.96)).verdict == Verdict.CONTRADICTED
    assert gan_claims.stalls(descents(0.97, 0.5, float("nan"))).verdict == Verdict.HOLDS, "one that broke off is none"
    moved_away = gan_claims.stalls(descents(1.3, 0.5, 1.4)).values["saturating_ahead"]
    assert moved_away.startswith("100 ± "), "the least rate: the start itself does not count as a look"


def adams(gradients: list[float], updates: list[float]) -> dict[str, pd.DataFrame]:
    """Trainings with the discriminator ahead, a seed each: sizes of the non-saturating loss by the saturating one's."""
    where = {"optimizer": "adam", "head_start": 100, "discriminator_steps": 1}
    training = pd.DataFrame(
        {"seed": seed, "step": 10, "loss": loss, "gradient": sizes[0], "update": sizes[1], **where}
        for seed, ratios in enumerate(zip(gradients, updates, strict=True))
        for loss, sizes in (("saturating", (1.0, 1.0)), ("non-saturating", ratios))
    )
    final = pd.DataFrame(
        {"seed": seed, "loss": loss, "distance": 1.0, **where}
        for seed in range(len(gradients))
        for loss in ("saturating", "non-saturating")
    )
    return {"training": training, "final": final}


def test_adam_hides_the_shrinkage_where_its_steps_differ_less() -> None:
    assert gan_claims.adam(adams([1000.0, 900.0, 1100.0], [3.0, 4.0, 2.0])).verdict == Verdict.HOLDS
    assert gan_claims.adam(adams([1000.0, 900.0, 1100.0], [500.0, 400.0, 600.0])).verdict < Verdict.HOLDS
    assert gan_claims.adam(adams([1e6, 2.0, 1.0], [2.0, 1.8, 3.0])).verdict < Verdict.HOLDS, (
        "one seed alone decides nothing"
    )


def rates(
    batch: float, bare: float, frozen: float = 100.0, none: float = 190.0, batch_none: float = 100.0
) -> pd.DataFrame:
    """Steps to the target at the better of two rates; at the other it is never reached."""
    return pd.DataFrame(
        {
            "seed": seed,
            "net": "deep",
            "arm": arm,
            "rate": rate,
            "ms": 2.0 if arm == "batch" else 1.0,
            "limit": 200,
            "choice": 0.5,
            **{
                f"{half}_{target}": (steps + seed if rate == 0.1 else np.nan)
                for half in ("chosen", "measured")
                for target in (0.7, 0.8, 0.9)
            },
        }
        for seed in range(4)
        for arm, steps in {
            "none": none,
            "he": bare,
            "batch": batch,
            "batch-none": batch_none,
            "group": 100.0,
            "frozen": frozen,
        }.items()
        for rate in (0.01, 0.1)
    )


def test_tuned_is_compared_with_tuned() -> None:
    claim = batch_norm_speed.faster({"rates": rates(batch=50, bare=150)}, "deep")
    assert claim.verdict == Verdict.HOLDS
    assert claim.values["bare_rate"] == "0.1"
    assert float(claim.values["steps"].split()[0]) == pytest.approx(150 / 50, rel=0.05)
    assert float(claim.values["seconds"].split()[0]) == pytest.approx(150 / 50 / 2, rel=0.05), "its steps take longer"
    assert batch_norm_speed.faster({"rates": rates(batch=150, bare=50)}, "deep").verdict < Verdict.HOLDS


def test_trainings_that_did_not_get_there_are_counted_and_make_a_ratio_a_bound() -> None:
    table = rates(batch=50, bare=150)
    bare = (table["arm"] == "he") & (table["rate"] == 0.1)
    table.loc[bare & (table["seed"] < 3), "measured_0.8"] = np.nan
    values = batch_norm_speed.faster({"rates": table}, "deep").values
    assert values["bare"].endswith("(n = 4) [1/4]")
    assert values["batch"].endswith("(n = 4)")
    assert values["steps"].startswith("≥ ")
    assert values["seconds"].startswith("≥ ")


def test_first_weights_matter_less_if_the_steps_lie_closer_together_whichever_are_fewer() -> None:
    for none, he in ((180.0, 60.0), (60.0, 180.0)):
        claim = batch_norm_speed.initialisation({"rates": rates(batch=50, bare=he, none=none, batch_none=45)})
        assert claim.verdict == Verdict.HOLDS
        assert float(claim.values["bare"].split()[0]) == pytest.approx(3, rel=0.05)
        assert float(claim.values["batch"].split()[0]) == pytest.approx(50 / 45, rel=0.05)
    claim = batch_norm_speed.initialisation({"rates": rates(batch=50, bare=60, none=62, batch_none=150)})
    assert claim.verdict == Verdict.CONTRADICTED


def test_frozen_statistics_cost_steps_only_where_they_do() -> None:
    claim = batch_norm_speed.frozen({"rates": rates(batch=50, bare=150)})
    assert claim.verdict == Verdict.HOLDS
    assert claim.values["bare"].startswith("152"), "what training without takes is shown beside it"
    assert batch_norm_speed.frozen({"rates": rates(batch=50, bare=150, frozen=50)}).verdict < Verdict.HOLDS


def steps_at_rates(alike: float, own: float, nets: tuple[str, ...]) -> pd.DataFrame:
    """Of nets: steps without by those with batch norm at plain training's best rate, and where each has its own."""
    steps = {("he", 0.1): 90.0, ("batch", 0.1): 90 / alike, ("he", 1.0): 99.0, ("batch", 1.0): 90 / own}
    rows = [
        {
            "seed": seed,
            "net": net,
            "arm": arm,
            "rate": rate,
            "limit": 99,
            **{f"{half}_0.8": count * (1 + 0.01 * seed * (arm == "he")) for half in ("chosen", "measured")},
        }
        for net in nets
        for seed in range(4)
        for (arm, rate), count in steps.items()
    ]
    return pd.DataFrame(rows)


def test_the_rate_is_the_mechanism_only_if_the_advantage_surely_shrinks_in_every_network() -> None:
    gone = steps_at_rates(alike=1.1, own=3.0, nets=("shallow", "residual", "sigmoid"))
    claim = batch_norm_speed.small_rate({"rates": pd.concat([gone, steps_at_rates(1.1, 3.0, ("deep",))])})
    assert claim.verdict == Verdict.HOLDS
    assert claim.values["shallow"].startswith("1.12 ×/÷ ")
    assert claim.values["shallow"].endswith("(✓)")
    stays = batch_norm_speed.small_rate({"rates": pd.concat([gone, steps_at_rates(2.5, 3.0, ("deep",))])})
    assert stays.verdict == Verdict.CONTRADICTED
    assert stays.values["deep"].endswith("(✗)")
    assert stays.values["shallow"] == claim.values["shallow"]


def ranges(
    batch: list[float], he: list[float], none: list[float], rates: Sequence[float] = (0.1, 1, 10)
) -> dict[str, pd.DataFrame]:
    """Final accuracies at each rate; below 0.2 a training has diverged."""
    finals = {"none": none, "he": he, "batch": batch}
    return {
        "rates": pd.DataFrame(
            {
                "seed": seed,
                "net": "deep",
                "arm": arm,
                "rate": rate,
                "limit": 100,
                "final": final,
                "choice": final,
                "diverged": final < 0.2,
                **{f"{half}_0.8": 50.0 if final >= 0.8 else np.nan for half in ("chosen", "measured")},
            }
            for seed in range(3)
            for arm in ("none", "he", "batch")
            for rate, final in zip(rates, finals[arm], strict=True)
        )
    }


def wider_deep(tables: dict[str, pd.DataFrame]) -> claims.Claim:
    return batch_norm_speed.wider(tables, ("deep",))


def test_a_wider_range_of_rates_is_part_of_the_claim() -> None:
    narrow, wide, flat = [0.8, 0.1, 0.1], [0.8, 0.8, 0.8], [0.1, 0.1, 0.1]
    claim = wider_deep(ranges(wide, narrow, flat))
    assert claim.verdict == Verdict.HOLDS
    assert claim.values["bare"] == "0.00", "an arm that never trains is not good at every rate"
    assert wider_deep(ranges([0.1, 0.1, 0.8], narrow, narrow)).verdict == Verdict.OPEN, "only that one"
    assert wider_deep(ranges(wide, narrow, wide)).verdict < Verdict.HOLDS, "another start does it too"
    assert wider_deep(ranges(narrow, wide, flat)).verdict == Verdict.CONTRADICTED


def test_an_interval_of_rates_is_no_narrower_than_they_lie_apart() -> None:
    claim = wider_deep(ranges([0.8, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.1]))
    assert claim.values["rates"] == "10 ×/÷ 10 (n = 3)", "all seeds alike"
    assert claim.values["difference"] == "1.00 ± 1.00 (n = 3)"
    assert claim.verdict == Verdict.OPEN
    for place in range(1, 7):  # the study's own rates, which are rounded
        finals = [[0.8] * (place + more) + [0.1] * (8 - place - more) for more in (1, 0)]
        one_more = ranges(*finals, [0.1] * 8, rates=rates_of(BatchNormStudy()))
        assert wider_deep(one_more).verdict == Verdict.OPEN, place


def test_a_training_that_breaks_down_again_did_not_get_there() -> None:
    table = rates(batch=50, bare=150).assign(final=0.8, choice=0.8)
    best = (table["arm"] == "he") & (table["rate"] == 0.1)
    table.loc[best & (table["seed"] == 0), "final"] = 0.1
    assert batch_norm_speed.faster({"rates": table}, "deep").values["bare"].endswith("[3/4]")


def test_the_better_first_weights_are_chosen_on_the_images_for_choosing() -> None:
    table = rates(batch=50, bare=150, none=120)
    table.loc[table["arm"] == "he", "chosen_0.8"] -= 100
    assert batch_norm_speed.faster({"rates": table}, "deep").values["bare"].startswith("152 ± ")


def test_a_ratio_is_a_geometric_mean_with_the_factor_of_its_interval() -> None:
    assert claims.ratio([2.0, 8.0], [1.0, 2.0]).mean == pytest.approx(8**0.5)
    found = Ratio(2.0, 1.5, 5)
    assert (found.low, found.high) == pytest.approx((2 / 1.5, 3))
    assert Ratio(2563.4, 1.05, 5).text() == "2,560 ×/÷ 1.05 (n = 5)"
    assert Ratio(0.04991, None, 1).text() == "0.0499 (n = 1)"
    assert Ratio(1.2131, 1.0064, 5).text(4) == "1.213 ×/÷ 1.006 (n = 5)"


def table_of(column: str, **arms: list[float]) -> pd.DataFrame:
    """A row an arm and seed."""
    return pd.DataFrame(
        {"arm": arm, "seed": seed, column: value} for arm, values in arms.items() for seed, value in enumerate(values)
    )


def test_small_batches_are_judged_where_they_are_small() -> None:
    few = table_of("running", he=[0.9] * 3, batch=[0.6, 0.61, 0.62], group=[0.8, 0.82, 0.81]).assign(batch=2)
    many = table_of("running", he=[0.9] * 3, batch=[0.5] * 3, group=[0.5] * 3).assign(batch=128)
    claim = batch_norm_claims.small_batches({"batches": pd.concat([few, many]).assign(budget="images")})
    assert claim.verdict == Verdict.HOLDS
    assert claim.values["batch"].startswith("61.0 ± ")


def test_running_statistics_fail_only_if_the_test_batches_own_do_better() -> None:
    table = table_of("running", he=[0.3] * 3, batch=[0.5, 0.51, 0.52], group=[0.9] * 3)
    assert batch_norm_claims.one_class({"sorted": table.assign(own=[0.8, 0.82, 0.81] * 3)}).verdict == Verdict.HOLDS
    alike = {"sorted": table.assign(own=table["running"] - 0.01 * table["seed"])}
    assert batch_norm_claims.one_class(alike).verdict < Verdict.HOLDS, "though another arm does better"


def test_small_batches_regularise_through_it_if_they_narrow_the_gap_more_than_without() -> None:
    def learnt(small: float, large: float, bare_small: float = 0.1) -> dict[str, pd.DataFrame]:
        parts = [
            table_of("test", he=[0.9 - bare] * 3, batch=[0.9 - gap + 0.001 * k for k in range(3)]).assign(
                batch=size, train=0.9
            )
            for size, gap, bare in ((8, small, bare_small), (128, large, 0.1))
        ]
        return {"few": pd.concat(parts)}

    assert batch_norm_claims.gap(learnt(0.05, 0.1)).verdict == Verdict.HOLDS
    assert batch_norm_claims.gap(learnt(0.1, 0.05)).verdict == Verdict.CONTRADICTED
    assert batch_norm_claims.gap(learnt(0.05, 0.1, bare_small=0.04)).verdict < Verdict.HOLDS, "they do so without"


def test_decay_is_a_growing_rate_if_that_comes_nearer() -> None:
    def trained(growing: float) -> dict[str, pd.DataFrame]:
        apart = {"with": 0.0, "without": 0.04, "growing rate": growing}
        rows = [
            {"way": way, "seed": seed, "apart": one * (1 + 0.1 * seed), "effective_rate": 0.1}
            for way, one in apart.items()
            for seed in range(3)
        ]
        return {"decay": pd.DataFrame(rows)}

    assert batch_norm_claims.decay(trained(0.004)).verdict == Verdict.HOLDS
    assert batch_norm_claims.decay(trained(0.039)).verdict < Verdict.HOLDS


def test_what_changes_sign_on_the_way_is_shown() -> None:
    rows = [
        {"arm": arm, "seed": seed, "step": step, "bend": one * (1 + 0.01 * seed)}
        for arm, early, late in (("he", 1.0, 4.0), ("batch", 4.0, 1.0))
        for step, one in ((0, early), (70, late))
        for seed in range(3)
    ]
    claim = batch_norm_claims.smoother({"probes": pd.DataFrame(rows)})
    assert claim.verdict < Verdict.HOLDS
    assert claim.values["ratio"].startswith("1 ")
    assert claim.values["early"].startswith("4 ")
    assert claim.values["late"].startswith("0.25 ")


def test_an_interval_bears_out_contradicts_or_leaves_open() -> None:
    assert above(Ratio(2.0, 1.5, 5), 1) == Verdict.HOLDS
    assert above(Ratio(2.0, 2.5, 5), 1) == Verdict.OPEN
    assert above(Ratio(0.5, 1.5, 5), 1) == Verdict.CONTRADICTED
    assert below(Ratio(0.5, 1.5, 5), 1) == Verdict.HOLDS
    assert below(Ratio(2.0, 1.5, 5), 1) == Verdict.CONTRADICTED
    assert within(Ratio(1.1, 1.1, 5), 1 / 1.25, 1.25) == Verdict.HOLDS
    assert within(Ratio(1.1, 1.2, 5), 1 / 1.25, 1.25) == Verdict.OPEN
    assert within(Ratio(0.9, 1.2, 5), 1 / 1.25, 1.25) == Verdict.OPEN
    assert within(Ratio(2.0, 1.2, 5), 1 / 1.25, 1.25) == Verdict.CONTRADICTED


@pytest.mark.parametrize("study", ["gan", "batch-norm"])
def test_every_claim_has_words_in_both_languages(study: str) -> None:
    words = yaml.safe_load((PROJECT_ROOT / "reports" / "answers" / f"{study}.claims.yaml").read_text(encoding="utf-8"))
    assert set(words) == set(STUDIES[study])
    for claim in words.values():
        assert set(claim) == {"en", "fa", "measured_en", "measured_fa"}
        wanted = [set(re.findall(r"{{ (\w+) }}", claim[f"measured_{language}"])) for language in ("en", "fa")]
        assert wanted[0] == wanted[1], "the same figures in both languages"
        assert "|" not in "".join(claim.values()), "it would end the cell of a table"


def named_in(template: str) -> set[str]:
    """Every figure that a template shows or asks about: names of attributes, and names that it does not set itself."""
    tree = environment().parse((PROJECT_ROOT / TEMPLATES / template).read_text(encoding="utf-8"))
    return {node.attr for node in tree.find_all(Getattr)} | meta.find_undeclared_variables(tree)


def test_the_report_says_the_same_in_both_languages() -> None:
    english, persian = (named_in(f"report.{language}.md.j2") for language in ("en", "fa"))
    in_one_loop = {"gan_losses", "gan_gradients", "gan_tails", "gan_training", "gan_samples"}
    in_one_loop |= {"bn_rates", "bn_batches", "bn_probes", "bn_depth"}
    assert english - persian == in_one_loop | {"full_data_hint"}, "figures that the Persian one takes in one loop"
    assert persian <= english


def test_a_page_needs_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "one.png").write_bytes(PIXEL)
    text = "# Title\n\nA formula $\\log(1 - D)$.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n![One](figures/one.png)\n"
    found = page(text, "fa", "Title", tmp_path)
    assert '<html lang="fa" dir="rtl">' in found
    assert '<math dir="ltr"' in found
    assert f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}" in found
    assert '<div class="table"><table>' in found
    assert "\\log" not in found
    assert not re.search(r'(src|href)="(?!data:|#)', found), "nothing is fetched"
    (tmp_path / "figures" / "شبکه.png").write_bytes(PIXEL)
    assert "data:image/png" in page("![One](figures/شبکه.png)", "fa", "Title", tmp_path), "a name in any script"
    with pytest.raises(FileNotFoundError):
        page("![Gone](figures/gone.png)", "en", "Title", tmp_path)


def test_a_formula_that_cannot_be_set_stops_the_build() -> None:
    assert "<mfrac>" in mathml(r"\tfrac12", {"display_mode": True})
    with pytest.raises(ValueError, match="notacommand"):
        mathml(r"\notacommand{x}", {})


def test_figures_keep_their_order_inside_persian() -> None:
    assert persian("12,345.6%") == "۱۲٬۳۴۵٫۶٪"
    assert left_to_right("0.5 ± 0.1") == '<bdi dir="ltr">0.5\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.1</bdi>'
    assert left_to_right("1 (n = 2); 3 / 4") == left_to_right("1 (n = 2)")[:-6] + "; 3 / 4</bdi>"
    assert in_cell("1 ± 2 (n = 2)") == left_to_right("1 ± 2")[:-6] + " (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}2)</bdi>"
    assert left_to_right("2 ×/÷ 3").count("\N{WORD JOINER}÷") == 1, "no line ends after the slash"
    sentence = "a sentence of more than so many characters"
    assert left_to_right(sentence) == f'<bdi dir="ltr">{sentence}</bdi>', "lines may end in it"
    assert render_text("{{ c.one | persian }}", {"c": {"one": 12}}) == "۱۲"
