"""A campaign on a region without pixels: workers take their turns while it waits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cropmask.catalog.build import Built, build_results
from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.fleet.control import change_control, load_control, pause, resume, stop
from cropmask.fleet.recordfiles import load_run
from cropmask.fleet.records import Canary, State
from cropmask.operate import doctor
from cropmask.operate.campaign import (
    Campaign,
    CampaignRequest,
    last_season,
    last_year,
    name_campaign,
    open_campaign,
)
from cropmask.operate.campaignfile import CampaignRecord, CampaignStep, StepState, find_campaign
from cropmask.operate.doctor import Check
from cropmask.operate.waiting import Calendar
from cropmask.region.region import load_region
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from tests.regions import YEAR, RegionWorld, block, make_region
from tests.turns import PERIOD, PRODUCT, Turns

TILES = block(2, 2)
RUN = "testland-2019-1-0-0"
FINE = [Check("versions", "ok", "1"), Check("layer water", "warning", "not configured")]
ANYTHING = Canary(1, (0.0, 100.0), (0.0, 100.0))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegionWorld:
    monkeypatch.chdir(tmp_path)
    examine(monkeypatch, FINE)
    built = Built({PRODUCT: len(TILES)}, 0, 0, ())  # pictures are drawn in one test only
    monkeypatch.setattr("cropmask.operate.campaign.build_results", lambda *_, **__: built)
    return make_region(tmp_path / "world", TILES)


def examine(monkeypatch: pytest.MonkeyPatch, checks: list[Check]) -> None:
    """Layers of this region are no rasters: what the preflight finds is scripted."""
    monkeypatch.setattr("cropmask.operate.campaign.examine", lambda *_: iter(checks))


@dataclass
class Mails:
    """People who are told something."""

    sent: list[tuple[str, str]] = field(default_factory=list)
    fails: bool = False

    def tell(self, subject: str, text: str) -> None:
        if self.fails:
            raise Misconfigured("the topic does not exist")
        self.sent.append((subject, text))

    @property
    def subjects(self) -> list[str]:
        return [subject.partition(" ")[2].partition(" ")[2] for subject, _ in self.sent]


def open_one(world: RegionWorld, mails: Mails | None = None, **more: Any) -> Campaign:
    calendar = more.pop("calendar", None) or Turns(world).calendar
    request = CampaignRequest(**{"region": str(world.region), "period": YEAR, **more})
    return open_campaign(Turns(world).site, request, mails, calendar=calendar)


def steps_of(campaign: Campaign) -> dict[str, str]:
    return {one.step: one.state for one in campaign.record.steps}


def detail_of(campaign: Campaign, step: str) -> str:
    return next(one.detail for one in campaign.record.steps if one.step == step)


def test_a_year_from_preflight_to_report(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cropmask.operate.campaign.build_results", build_results)
    mails = Mails()
    campaign = open_one(world, mails, canary=ANYTHING)
    assert campaign.run() is StepState.DONE
    assert steps_of(campaign) == dict.fromkeys(CampaignStep, StepState.DONE)
    assert detail_of(campaign, "doctor") == "2 checks, layer water with a warning"
    assert detail_of(campaign, "plan").startswith("4 tiles to compute, 0 unchanged")
    assert detail_of(campaign, "canary") == "1 tile passed"
    assert detail_of(campaign, "reconcile") == "4 of 4 results are there"
    assert detail_of(campaign, "catalog") == f"4 items of {PRODUCT} linked"
    assert Path("out/catalog.json").exists()
    assert mails.subjects == ["begins", "is done"]
    assert "crop_mask_testland 1.0.0, 2019--P1Y, in out" in mails.sent[0][1]
    assert "wait: 4 of 4 tiles done" in mails.sent[1][1]
    report = json.loads((folder_of() / "report.json").read_text())
    assert report["counts"]["SUCCEEDED"] == 4
    assert report["areas_counted"][PERIOD]["tiles"] == 4
    assert "<svg" in (folder_of() / "report.html").read_text()


@pytest.fixture(autouse=True)
def _items_alone_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """These results have no files beside their items."""
    monkeypatch.setattr("cropmask.operate.reconcile.check_item", lambda *_: ())


def folder_of() -> Path:
    return Path("out/_runs") / PRODUCT / PERIOD / RUN


def test_what_is_done_is_not_done_again(world: RegionWorld) -> None:
    open_one(world).run()
    before = (folder_of() / "campaign.json").read_text()
    mails = Mails()
    again = open_one(world, mails)
    assert again.run() is StepState.DONE
    assert again.record.is_done
    assert mails.sent == []
    assert (folder_of() / "campaign.json").read_text() == before


def test_steps_can_be_done_one_by_one(world: RegionWorld) -> None:
    for number, step in enumerate(CampaignStep, 1):
        campaign = open_one(world)
        assert campaign.run(step) is StepState.DONE
        assert len(campaign.record.steps) == number
    assert campaign.record.is_done


def test_it_waits_for_geomad_without_a_word(tmp_path: Path, world: RegionWorld) -> None:
    part = make_region(tmp_path / "part", TILES, without=TILES[2:])
    mails = Mails()
    campaign = open_one(part, mails)
    assert campaign.run() is StepState.WAITING
    assert detail_of(campaign, "plan").startswith("GeoMAD of 2 of 4 tiles is not there yet (x201")
    assert mails.sent == []
    assert not (folder_of() / "run.json").exists()
    assert open_one(part, missing=1).run() is StepState.WAITING
    whole = make_region(tmp_path / "whole", TILES)
    assert open_one(whole, mails).run() is StepState.DONE
    assert mails.subjects == ["begins", "is done"]


def test_some_tiles_may_be_missing(tmp_path: Path, world: RegionWorld) -> None:
    part = make_region(tmp_path / "part", TILES, without=TILES[3:])
    campaign = open_one(part, missing=1)
    assert campaign.run() is StepState.DONE
    assert detail_of(campaign, "reconcile") == "3 of 4 results are there"


def test_inputs_that_cannot_be_used_need_somebody(world: RegionWorld) -> None:
    item = world.item_file(TILES[0], 0)
    item.write_text(item.read_text().replace('"id": "', '"id": "other_').replace('"nir"', '"no"'))
    mails = Mails()
    campaign = open_one(world, mails)
    assert campaign.run() is StepState.FAILED
    assert detail_of(campaign, "plan").startswith(
        "inputs of 1 of 4 tiles cannot be used (x200y070)"
    )
    assert mails.subjects == ["needs somebody: plan failed"]


def test_the_preflight_is_looked_at_again_until_there_is_a_plan(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine(monkeypatch, [*FINE, Check("queue", "failed", "no such queue", 13)])
    mails = Mails()
    for _ in range(3):
        campaign = open_one(world, mails)
        assert campaign.run() is StepState.FAILED
        assert detail_of(campaign, "doctor") == "queue: no such queue"
    ((subject, text),) = mails.sent
    assert subject == f"cropmask {RUN} needs somebody: doctor failed"
    assert f"cropmask campaign --region {world.region.absolute()}" in text
    examine(monkeypatch, FINE)
    assert open_one(world, mails).run() is StepState.DONE
    assert mails.subjects[1:] == ["begins", "is done"]


def test_a_package_that_a_late_step_needs_is_asked_for_before_anything_is_computed(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cropmask.operate.campaign.examine", doctor.examine)
    monkeypatch.setattr(doctor, "_is_installed", lambda package: package != "rustac")
    campaign = open_one(world, Mails())
    assert campaign.run() is StepState.FAILED
    assert "the package rustac: 'make setup' in a clone" in detail_of(campaign, "doctor")
    assert steps_of(campaign) == {CampaignStep.DOCTOR: StepState.FAILED}


def test_the_command_of_a_message_asks_for_the_same(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    from click.testing import CliRunner

    from cropmask.cli.main import cropmask

    examine(monkeypatch, [Check("queue", "failed", "no such queue", 13)])
    mails = Mails()
    asked = {"tiles": TILES[:3], "overwrite": True, "recipe": "boosted", "missing": 2}
    asked |= {"canary": Canary(2, (5.0, 60.5))}
    open_one(world, mails, **asked).run()
    line = shlex.split(mails.sent[0][1].rpartition("or by: ")[2])
    examine(monkeypatch, FINE)
    done = CliRunner().invoke(cropmask, [*line[1:], "--until", "plan", "--json"])
    found = json.loads(done.output)
    assert (found["run"], done.exit_code) == (RUN, 0)
    assert found["asked"] == "boosted, 10 m, overwrite, only x200y070 x200y071 x201y070"
    record = load_run(Turns(world).site.store(), PRODUCT, PERIOD, RUN)
    assert record.canary == Canary(2, (5.0, 60.5))


def test_a_canary_that_fails_stops_it_until_somebody_sends_the_rest(world: RegionWorld) -> None:
    mails = Mails()
    for _ in range(2):
        campaign = open_one(world, mails, canary=Canary(1))
        assert campaign.run() is StepState.FAILED
    assert steps_of(campaign)["canary"] == "failed"
    assert mails.subjects == ["begins", "needs somebody: canary failed"]
    assert "all tiles together: 100.0 % crop, not 0.1 to 90 %" in mails.sent[1][1]
    assert "--canary 0" in mails.sent[1][1]
    site = Turns(world).site
    record = load_run(site.store(), PRODUCT, PERIOD, RUN)
    assert (record.sent, len(record.tiles)) == (1, 4)
    from cropmask.operate.submit import send

    send(replace(record, canary=None), site.store(), site.queue())
    assert open_one(world, mails, canary=Canary(1)).run() is StepState.DONE


def test_tiles_that_fail_need_somebody_or_may_be_missing(world: RegionWorld) -> None:
    mails = Mails()
    calendar = Turns(world, State.INVALID).calendar
    campaign = open_one(world, mails, calendar=calendar)
    assert campaign.run() is StepState.FAILED
    said = detail_of(campaign, "wait")
    assert said.startswith("0 of 4 tiles done, ")
    assert "4 tiles missing band, such as x200y070; see cropmask status" in said
    assert mails.subjects == ["begins", "needs somebody: wait failed"]
    assert open_one(world, mails, missing=4).run() is StepState.DONE


def test_a_run_that_is_stopped_stops_it_and_a_paused_one_waits(world: RegionWorld) -> None:
    store = Turns(world).site.store()
    turns = Turns(world)

    def say(change: Any) -> None:
        change_control(store, PRODUCT, PERIOD, RUN, change, datetime.now(UTC))

    campaign = open_one(world)
    campaign.run(CampaignStep.SUBMIT)
    say(stop("over budget", "it has cost 3 dollars"))
    campaign = open_one(world)
    assert campaign.run() is StepState.FAILED
    assert detail_of(campaign, "wait") == f"run {RUN} was stopped: it has cost 3 dollars"
    say(resume(RUN, {}))
    say(pause(RUN, "lunch"))
    looks = iter([lambda: None, lambda: None, lambda: say(resume(RUN, {}))])

    def sleep(_seconds: float) -> None:
        next(looks, turns.take)()

    campaign = open_one(world, calendar=Calendar(sleep=sleep))
    assert campaign.run() is StepState.DONE


def test_an_error_is_written_down_told_and_tried_again(
    world: RegionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object, **__: object) -> None:
        raise Interrupted("the server answers 503: run again")

    mails = Mails()
    with monkeypatch.context() as patched:
        patched.setattr("cropmask.operate.campaign.build_results", build)
        for _ in range(2):
            with pytest.raises(Interrupted, match="503"):
                open_one(world, mails).run()
    known = find_campaign(Turns(world).site.store(), PRODUCT, PERIOD, RUN)
    assert known is not None
    assert known.steps[-1].detail == "the server answers 503: run again"
    assert mails.subjects == ["begins", "needs somebody: catalog failed"]
    assert open_one(world, mails).run() is StepState.DONE


def test_a_campaign_that_costs_too_much_does_not_begin(world: RegionWorld) -> None:
    mails = Mails()
    campaign = open_one(world, mails, limits={"max_tiles": 3})
    with pytest.raises(Rejected, match="the run has 4 tiles, and --max-tiles allows 3"):
        campaign.run()
    assert mails.subjects == ["needs somebody: plan failed"]
    assert "--max-tiles 3" in mails.sent[0][1]
    assert not (folder_of() / "run.json").exists()
    open_one(world, limits={"max_tiles": 4}).run(CampaignStep.PLAN)
    assert load_control(Turns(world).site.store(), PRODUCT, PERIOD, RUN).max_tiles == 4
    assert open_one(world, mails).run() is StepState.DONE


def test_nothing_begins_that_nobody_would_hear_of(world: RegionWorld) -> None:
    with pytest.raises(Misconfigured, match="the topic does not exist"):
        open_one(world, Mails(fails=True)).run()
    assert Turns(world).tiles_waiting() == []
    mails = Mails()
    assert open_one(world, mails).run() is StepState.DONE
    assert mails.subjects == ["begins", "is done"]


def test_people_are_told_once_that_it_stands_still(world: RegionWorld) -> None:
    turns, mails = Turns(world), Mails()
    hours = iter(range(300))

    def sleep(_seconds: float) -> None:
        turns.moment += timedelta(minutes=1)
        if next(hours) > 150:
            turns.take()

    campaign = open_one(world, mails, calendar=Calendar(lambda: turns.moment, sleep))
    assert campaign.run() is StepState.DONE
    assert mails.subjects == ["begins", "stands still", "is done"]
    assert "for 1 h 00 min no tile has ended; see cropmask status" in mails.sent[1][1]


class Killed(BaseException):
    """The process ends here."""


def count_writes(monkeypatch: pytest.MonkeyPatch, world: RegionWorld, most: int | None) -> int:
    """Run it until it has written so often; how often it wrote."""
    write, written = FolderStore.put, 0

    def put(self: FolderStore, key: str, *rest: Any) -> None:
        nonlocal written
        is_ours = key.endswith(("run.json", "campaign.json", "report.json", "report.html"))
        if is_ours and written == most:
            raise Killed
        write(self, key, *rest)
        written += is_ours

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "put", put)
        with suppress(Killed):
            open_one(world, MAILS, canary=ANYTHING).run()
    return written


MAILS = Mails()


def test_killed_at_any_write_it_goes_on_where_it_was(
    world: RegionWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_region(tmp_path / "small", TILES[:2])
    every = count_writes(monkeypatch, world, None)
    assert every > 15
    for most in range(every):
        folder = tmp_path / str(most)
        folder.mkdir()
        monkeypatch.chdir(folder)
        MAILS.sent.clear()
        count_writes(monkeypatch, world, most)
        campaign = open_one(world, MAILS, canary=ANYTHING)
        assert campaign.run() is StepState.DONE
        assert campaign.record.is_done
        store = Turns(world).site.store()
        assert load_run(store, PRODUCT, PERIOD, RUN).sent == 2
        assert store.folders(f"_runs/{PRODUCT}/{PERIOD}/") == (RUN,)
        assert {"begins", "is done"} == set(MAILS.subjects)
        assert len(MAILS.subjects) <= 3, "at worst one message comes twice"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"recipe": "boosted"}, "another request: forest, 10 m, not boosted, 10 m"),
        ({"tiles": TILES[:1]}, "not forest, 10 m, only x200y070"),
    ],
)
def test_a_campaign_stays_what_it_was(world: RegionWorld, more: Any, said: str) -> None:
    open_one(world).run(CampaignStep.DOCTOR)
    with pytest.raises(Rejected, match=said):
        open_one(world, **more)
    assert open_one(world, run="another", **more).run() is StepState.DONE


def test_a_run_of_its_name_that_makes_other_maps_is_left_alone(world: RegionWorld) -> None:
    open_one(world, run="mine", recipe="boosted").run(CampaignStep.PLAN)
    (Path("out/_runs") / PRODUCT / PERIOD / "mine" / "campaign.json").unlink()
    with pytest.raises(Rejected, match="run mine is there, and makes other maps: boosted, 10 m"):
        open_one(world, run="mine").run()
    assert open_one(world, run="mine", recipe="boosted").run() is StepState.DONE


def test_a_region_without_work_is_looked_at_all_the_same(world: RegionWorld) -> None:
    for tile in TILES:
        Turns(world).finish(tile)
    campaign = open_one(world, canary=ANYTHING)
    assert campaign.run() is StepState.DONE
    assert detail_of(campaign, "plan").startswith("0 tiles to compute, 4 unchanged")
    assert detail_of(campaign, "canary") == "none"
    world.edit("slope_percent = 50.0", "slope_percent = 40.0")
    again = open_one(world, run="again")
    assert again.run() is StepState.DONE
    assert "4 changed but left as they are" in detail_of(again, "plan")
    replaced = open_one(world, run="replaced", overwrite=True)
    replaced.run(CampaignStep.PLAN)
    assert detail_of(replaced, "plan").startswith("4 tiles to compute, 0 unchanged;")


def test_another_version_is_another_campaign(world: RegionWorld) -> None:
    open_one(world).run(CampaignStep.DOCTOR)
    world.edit('version = "1.0.0"', 'version = "1.1.0"')
    assert open_one(world).record.run == "testland-2019-1-1-0"
    with pytest.raises(Rejected, match=r"another version: 1\.0\.0, not 1\.1\.0"):
        open_one(world, run=RUN)


def test_names_of_campaigns() -> None:
    assert name_campaign(load_region("indian_ocean"), YEAR) == "indian-ocean-2019-1-1-0"
    season = last_season(date(2027, 7, 1))
    assert name_campaign(load_region("southern"), season) == "southern-2026-07-1-1-0"
    assert str(last_year(date(2027, 1, 1))) == "2026--P1Y"
    assert str(season) == "2026-07--P1Y"
    assert str(last_season(date(2027, 6, 30))) == "2025-07--P1Y"


def test_a_document_that_is_none_says_so(world: RegionWorld) -> None:
    open_one(world).run(CampaignStep.DOCTOR)
    path = folder_of() / "campaign.json"
    text = path.read_text()
    assert CampaignRecord.from_json(text).run == RUN
    for old, new in (('"doctor"', '"dance"'), ('"campaign": 1', '"campaign": 2'), ("}", "")):
        path.write_text(text.replace(old, new))
        with pytest.raises(Rejected, match=r"campaign\.json: the document is no campaign"):
            open_one(world)


def test_a_site_elsewhere_has_its_own(world: RegionWorld, tmp_path: Path) -> None:
    open_one(world).run()
    site = open_site({}, {"catalog": str(world.catalog), "output": str(tmp_path / "other")})
    request = CampaignRequest(str(world.region), YEAR)
    assert open_campaign(site, request).record.steps == ()


def lines(text: str) -> Iterator[str]:
    yield from map(str.strip, text.splitlines())


def test_the_command_prints_a_line_for_each_step_and_ends_with_20_while_geomad_lacks(
    world: RegionWorld, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from cropmask.cli.campaign import campaign

    part = make_region(tmp_path / "part", TILES, without=TILES[3:])
    words = ["--region", str(part.region), "--catalog", str(part.catalog), "--output", "out"]
    words += ["--period", "2019"]
    done = CliRunner().invoke(campaign, words)
    assert done.exit_code == 20
    found = list(lines(done.output))
    assert found[0].startswith(f"Campaign {RUN}: crop_mask_testland 1.0.0, 2019--P1Y, forest, 10 m")
    assert found[1].startswith("2019--P1Y  doctor    done")
    assert found[2].startswith("2019--P1Y  plan      waiting GeoMAD of 1 of 4")
    assert found[3] == "Nothing of 2019--P1Y has begun; the same command looks again."
    done = CliRunner().invoke(campaign, [*words, "--when-complete", "--json"])
    assert (done.exit_code, json.loads(done.output)["state"]) == (0, "waiting")
    done = CliRunner().invoke(campaign, [*words, "--topic", "alarms"])
    assert "'alarms' is no topic of SNS" in str(done.exception)
