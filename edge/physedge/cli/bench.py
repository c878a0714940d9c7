"""`physedge bench`: how fast is this bundle on this device, and is it slower than it was?"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.options import JsonOption, SeedOption, TrustOption

if TYPE_CHECKING:
    from rich.table import Table

    from physedge.deploy.bench import BenchReport
    from physedge_calibrate.bench import MachineState
    from physedge_calibrate.profile import Profile


def bench(
    bundle: Annotated[
        Path | None, typer.Argument(help="NAME.physedge; the project's, else the built-in demo model's.")
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option("--engine", help="May be repeated; all that are usable here if not said.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", help="fp32, fp16, int8; may be repeated; all if not said.")
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option("--threads", min=1, max=256, help="May be repeated; one, and all cores, if not said."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=3, help="Inferences of every case; 64 allow a p90.")] = 64,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The record; build/NAME.bench.json if not said.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="An earlier record; exits 1 where a case became slower.")
    ] = None,
    noise: Annotated[
        float, typer.Option("--noise", min=0, max=10, help="Share by which a median may rise above the baseline.")
    ] = 0.05,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also where the time goes, by operator and by module; on one thread.")
    ] = False,
    trust: TrustOption = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Time engines x precisions x threads in turns, with medians, tails, load and clock; writes a record and a PNG."""
    from physedge.cli.console import progress
    from physedge.deploy.bench import bench_bundle
    from physedge.deploy.bench_picture import draw_bench
    from physedge.deploy.choice import default_bundle
    from physedge_calibrate.baseline import refuse_slowdowns
    from physedge_runtime.bundle import read_bundle, write_atomically
    from physedge_runtime.file_guard import refuse_output
    from physedge_runtime.install import refuse_below_floor
    from physedge_runtime.manifest import canonical_json

    path, sentence = (bundle, f"timing {bundle}") if bundle is not None else default_bundle()
    say(sentence.replace("running", "timing"), json_output=json_output)
    opened = read_bundle(path, trust=trust)
    refuse_below_floor(opened)
    record = output or Path("build") / f"{path.name.removesuffix('.physedge')}.bench.json"
    for planned in (record, record.with_suffix(".png")):
        refuse_output(planned, [path, baseline])
    with progress("timing in turns", rounds) as advance:
        report = bench_bundle(
            opened,
            engines=engine or (),
            precisions=precision or (),
            threads=threads or (),
            rounds=rounds,
            seed=seed,
            advance=advance,
        )
    record.parent.mkdir(parents=True, exist_ok=True)
    slower = report.slower_than(baseline, noise=noise) if baseline is not None else ()
    write_atomically(record, canonical_json(report.to_dict()))
    picture = record.with_suffix(".png") if find_spec("matplotlib") else None
    if picture is not None:
        draw_bench(picture, report)
    say(
        _table(report),
        *(f"left out: {sentence}" for sentence in report.left_out),
        f"before: {_state(report.bench.before)}   after: {_state(report.bench.after)}",
        f"wrote {record} and {picture}" if picture else f"wrote {record}; a picture needs the extra 'export'",
        json_output=json_output,
    )
    profiled = _profile(report, record, rounds=rounds, json_output=json_output) if profile else {}
    if baseline is not None and not slower:
        say(f"nothing is slower than {baseline} by more than {noise:.0%} and its uncertainty", json_output=json_output)
    # Where it became slower, the one object on stdout is the error's.
    refuse_slowdowns(slower, noise=noise)
    written = {"record": str(record), "picture": str(picture) if picture else None}
    emit(report.to_dict() | written | profiled, json_output)


def _profile(report: BenchReport, record: Path, *, rounds: int, json_output: bool) -> dict[str, object]:
    from physedge.cli.console import progress
    from physedge.deploy.profile import profile_cases
    from physedge.deploy.profile_picture import draw_profiles
    from physedge_runtime.bundle import write_atomically
    from physedge_runtime.manifest import canonical_json

    cases = [result.case for result in report.results]
    with progress("profiling", None):
        profiles = profile_cases(report.bundle, cases, rounds=rounds)
    found: dict[str, object] = {"profiles": [one.to_dict() for one in profiles]}
    path = record.with_name(record.name.removesuffix(".json").removesuffix(".bench") + ".profile.json")
    write_atomically(path, canonical_json(found))
    draw_profiles(path.with_suffix(".png"), profiles)
    say(
        *(_profile_table(profiles, title) for title in ("kind of work", "module")),
        *(one.sentence() for one in profiles),
        f"wrote {path} and {path.with_suffix('.png')}",
        json_output=json_output,
    )
    return found


def _profile_table(profiles: Sequence[Profile], title: str) -> Table:
    """Milliseconds of every profile, side by side, by kind of work or by module."""
    from rich.table import Table

    columns = [one.by_kind() if title == "kind of work" else one.by_module() for one in profiles]
    rows = list(dict.fromkeys(row for column in columns for row in column))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"ms by {title}")
    for one in profiles:
        table.add_column(one.title, justify="right")
    for row in rows:
        table.add_row(row, *(f"{column[row]:.2f}" if row in column else "" for column in columns))
    table.add_row("sum", *(f"{one.sum_ms:.2f}" for one in profiles))
    return table


def _table(report: BenchReport) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    tails = [name for name in ("p90", "p99", "p99.9") if name in report.bench.timings[0].percentiles_ms]
    table.add_column("case")
    for title in ("median ms", *(f"{name} ms" for name in tails), "CPU ms", "samples", "of the first", "largest error"):
        table.add_column(title, justify="right")
    first = report.bench.timings[0]
    for timing, result in zip(report.bench.timings, report.results, strict=True):
        table.add_row(
            timing.name,
            f"{timing.median_ms:.2f} ± {timing.median_error_ms:.2f}",
            *(f"{timing.percentiles_ms[name]:.2f}" for name in tails),
            f"{timing.cpu_median_ms:.2f} ± {timing.cpu_median_error_ms:.2f}",
            str(timing.samples),
            f"{first.cpu_median_ms / timing.cpu_median_ms:.2f}x" if timing.cpu_median_ms else "",
            f"{result.largest_difference:.2g}",
        )
    return table


def _state(state: MachineState) -> str:
    clock = "clock unknown" if state.clock_mhz != state.clock_mhz else f"clock {state.clock_mhz:.0f} MHz"
    governor = f" ({state.governor})" if state.governor else ""
    return f"load {state.load_1min:.1f} on {state.processors} processors, {clock}{governor}"
