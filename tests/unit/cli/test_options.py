"""Numbers on the command line: each mistake is one line with the bounds."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from cropmask.cli.console import run_click
from cropmask.cli.main import cropmask
from cropmask.cli.options import TILES, YEARS, FiniteNumber, WholeNumber
from cropmask.task import Period

SPANS = "write it like 2019-2024, or of seasons like 2019/20-2024/25"


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (WholeNumber(1, 10_000), "x", "'x' is no whole number from 1 to 10,000"),
        (WholeNumber(1, 10_000), "0", "'0' is no whole number from 1 to 10,000"),
        (WholeNumber(1), "1.5", "'1.5' is no whole number of at least 1"),
        (FiniteNumber(0, min_open=True), "0", "'0' is no number above 0"),
        (FiniteNumber(0.2), "nan", "'nan' is no number of at least 0.2"),
        (FiniteNumber(0.2), "inf", "'inf' is no number of at least 0.2"),
        (FiniteNumber(0, 60, min_open=True), "61", "'61' is no number above 0 to 60"),
    ],
)
def test_what_is_wrong_with_a_number(kind: click.ParamType, text: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert caught.value.message == said


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (YEARS, "2024-2019", "ends before it begins"),
        (YEARS, "2020-07", f"'2020-07' is no span of years: {SPANS}"),
        (YEARS, "2019-", f"'2019-' is no span of years: {SPANS}"),
        (YEARS, "2019/20-2024", f"'2019/20-2024' is no span of years: {SPANS}"),
        (YEARS, "2019/21-2024/26", f"'2019/21-2024/26' is no span of years: {SPANS}"),
        (YEARS, "2019/2020-2024/2025", f"is no span of years: {SPANS}"),
        (YEARS, "2024/25-2019/20", f"'2024/25-2019/20' ends before it begins: {SPANS}"),
        (YEARS, "2019-03--P6Y", f"'2019-03--P6Y' is no span of years: {SPANS}"),
        (YEARS, "1990/91-2024/25", "at most 15 years"),
        (YEARS, "2019--P18M", "is no span of years"),
        (YEARS, "1990-2024", "at most 15 years"),
        (TILES, "", "'' names no tile"),
    ],
)
def test_what_is_wrong_with_years_and_tiles(kind: click.ParamType, text: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("texts", "period"),
    [
        (("2019-2024", "2019--P6Y", "2019--P72M"), "2019--P6Y"),
        (("2019/20-2024/25", "2019-07--P6Y"), "2019-07--P6Y"),
        (("2019/20", "2019/20-2019/20"), "2019-07--P1Y"),
        (("1999/00-2004/05",), "1999-07--P6Y"),
    ],
)
def test_right_years_pass(texts: tuple[str, ...], period: str) -> None:
    for text in texts:
        assert YEARS.convert(text, None, None) == Period.parse(period)


def test_right_numbers_pass() -> None:
    assert WholeNumber(1, 3).convert("3", None, None) == 3
    assert FiniteNumber(0).convert("2.5", None, None) == 2.5


@pytest.mark.parametrize("words", [("status", "--every", "nan"), ("worker", "--max-tasks", "x")])
def test_commands_use_them(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cropmask, words)
    assert done.exit_code == 2
    assert "is no " in done.output


def test_a_number_of_the_environment_is_named_as_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CROPMASK_MAX_TASKS", "x")
    monkeypatch.setattr("sys.argv", ["cropmask", "worker"])
    with pytest.raises(SystemExit) as ended:
        run_click(cropmask)
    said = "'x' is no whole number of at least 1 (CROPMASK_MAX_TASKS): see 'cropmask worker --help'"
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().endswith(said)
