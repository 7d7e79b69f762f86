# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser: figures drawn, images decoded, no request, no complaint."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conjoin.core.report import write_report
from conjoin.core.report.page import _hash

pytest.importorskip("plotly")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=20000",
]
# Runs in the page after everything else and leaves what it saw in the DOM.
PROBE = """
window.addEventListener("load", () => setTimeout(() => {
  const figures = [...document.querySelectorAll(".plot")].map((place) => {
    const spec = JSON.parse(document.querySelector(`script[data-figure="${place.id}"]`).textContent);
    const marks = [...place.querySelectorAll(".scatterlayer path, .barlayer path")];
    return { name: place.id, asked: spec.data.length, got: (place._fullData || []).length,
      marks: marks.filter((mark) => (mark.getAttribute("d") || "").length > 3).length,
      width: place.querySelector("svg.main-svg")?.getBoundingClientRect().width || 0 };
  });
  const images = [...document.images].map(
    (image) => [image.complete, image.naturalWidth, image.naturalHeight, image.alt]);
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "probe";
  out.textContent = JSON.stringify({ figures, images, errors: document.documentElement.dataset.errors || "",
    requests: performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:")),
    wide: document.documentElement.scrollWidth, window: window.innerWidth,
    bold: [...document.querySelectorAll("td strong")].map((cell) => cell.textContent),
    ink: getComputedStyle(document.body).color, alive: typeof window.injected });
  document.body.append(out);
}, 3000));
"""


def browse(page: Path, folder: Path, *extra: str, dump: bool = True) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    flags = [*FLAGS, f"--user-data-dir={folder}", *extra, *(["--dump-dom"] if dump else [])]
    flags += ["--enable-logging=stderr", "--v=0"]
    return subprocess.run(
        [BROWSER, *flags, page.as_uri()], capture_output=True, text=True, timeout=170, check=True
    )


def look(page: Path, folder: Path, *extra: str) -> tuple[dict[str, Any], str]:
    """What the probe saw, and what the browser wrote about the console."""
    text = page.read_text()
    assert text.count("script-src ") == 1
    text = text.replace("script-src ", f"script-src '{_hash(PROBE)}' ").replace(
        "</body>", f"<script>{PROBE}</script></body>"
    )
    probed = page.with_name("probed.html")
    probed.write_text(text)
    done = browse(probed, folder, *extra)
    found = re.search(r'<script type="application/json" id="probe">(.*?)</script>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(found[1]), "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
@pytest.mark.parametrize("width", [1280, 500])  # 500 is the narrowest window of headless Chromium
def test_everything_is_drawn(run_dir: Path, toy: Any, tmp_path: Path, width: int) -> None:
    page = write_report(run_dir, datamodule=toy[1], max_images=4, max_samples=120)
    seen, console = look(page, tmp_path / "profile", f"--window-size={width},1000")
    assert not console
    assert seen["errors"] == ""
    assert seen["requests"] == []
    names = {figure["name"] for figure in seen["figures"]}
    assert {
        "fig-evaluation-test-accuracy",
        "fig-losses",
        "fig-schedule-lr",
        "fig-schedule-ema",
        "fig-rankme",
        "fig-content-share",
        "fig-eigenvalues",
        "fig-spectrum",
        "fig-probes",
        "fig-projection-pca",
        "fig-throughput",
    } <= names
    for figure in seen["figures"]:
        assert figure["got"] == figure["asked"] > 0, figure
        assert figure["marks"] >= figure["asked"] - (figure["name"] == "fig-eigenvalues"), (
            figure
        )  # colour-bar trace
        assert 100 < figure["width"] <= width, figure
    assert len(seen["images"]) == 4 * 3 + 4 * 4
    for complete, across, down, alt in seen["images"]:
        assert complete
        assert across >= 192
        assert down >= 192
        assert alt
    assert seen["wide"] <= seen["window"], "the page scrolls sideways"
    assert seen["bold"][0].startswith("22.0")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_injected_text_stays_text_and_unknown_scripts_do_not_run(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "config.yaml").write_text("model: {class_path: '</pre><script>window.injected=1</script>'}\n")
    page = write_report(run_dir)
    seen, _ = look(page, tmp_path / "profile")
    assert seen["alive"] == "undefined"
    # Even markup that had slipped through would be stopped by the page's policy.
    page.write_text(page.read_text().replace("</header>", "</header><script>window.injected=1</script>"))
    seen, console = look(page, tmp_path / "profile2")
    assert seen["alive"] == "undefined"
    assert "Content Security Policy" in console
