from pathlib import Path

from click.testing import CliRunner

from trio_gateway.cli.simulate import simulate

SCENARIO = Path(__file__).parents[2] / "policies" / "scenarios" / "hard-outage.yaml"
OTHER = Path(__file__).parents[2] / "policies" / "low-latency.yaml"


def test_a_simulation_writes_its_page(tmp_path: Path) -> None:
    scenario = tmp_path / "short-outage.yaml"
    text = SCENARIO.read_text().replace("../", f"{SCENARIO.parents[1]}/")
    scenario.write_text(text.replace("10m", "40s").replace("2m", "10s"))
    page = tmp_path / "page.html"

    CliRunner().invoke(simulate, [str(scenario), "--html", str(page)])
    one = page.read_text(encoding="utf-8")
    arguments = [str(scenario), "--html", str(page), "--compare", str(OTHER)]
    CliRunner().invoke(simulate, arguments)
    both = page.read_text(encoding="utf-8")

    assert one.startswith("<!doctype html>")
    assert "two-providers.yaml" in one
    assert "What changed" not in one
    assert "What changed" in both
    assert "low-latency.yaml" in both
