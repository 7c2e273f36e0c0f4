"""Make the pictures of STAC Browser in the documentation, from results with their catalog.

Run ``.venv/bin/python -m docs.make_browser_figures RESULTS`` after what ``docs/look.md`` says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.devtools import Page, open_page

FIGURES: Final = Path(__file__).parent / "figures"
SETTLE_SECONDS: Final = 6.0
"""Time for maps and pictures, which do not say when they are done."""


def shoot(page: Page, name: str) -> None:
    """Write a picture once the page has settled."""
    time.sleep(SETTLE_SECONDS)
    page.screenshot(FIGURES / f"browser-{name}.png")


def scroll_to(page: Page, words: str) -> None:
    """Bring the smallest element with these words to the middle of the screen."""
    found = (
        "[...document.querySelectorAll('td, th, dt')]"
        f".find(e => e.innerText.includes({json.dumps(words)}))"
    )
    page.wait(f"!!{found}")
    page.value(f"{found}.scrollIntoView({{block: 'center'}})")


def main(results: str) -> None:
    """Click from the root to an item and its model."""
    program = Path(sys.executable).with_name("cropmask")
    command = [str(program), "browse", results, "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        try:
            with open_page(size=(1200, 1000)) as page:
                page.open(address)
                page.see("Eastern Africa", "Western Africa", "Cropland models")
                shoot(page, "root")
                page.click("Eastern Africa")
                page.see("x221y075", "Temporal Extent")
                shoot(page, "collection")
                page.click("x221y075")
                page.see("Crop probability", "Model: eastern, forest")
                shoot(page, "item")
                scroll_to(page, "Mapped Hectares")
                shoot(page, "statistics")
                page.click("Model: eastern, forest")
                page.see("Eastern Africa: forest", "Random Forest")
                shoot(page, "model")
        finally:
            process.terminate()


if __name__ == "__main__":
    main(sys.argv[1])
