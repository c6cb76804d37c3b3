"""Builds and runs the parts of the test suite and prints one closing summary.

Each part yields results (passed, failed, skipped, names of failures); a part that cannot run is a
failure. The last line is "N passed, N failed, N skipped".
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
JOBS = str(os.cpu_count() or 2)

# Code with threads of its own: what the thread sanitizer looks at. The rest it would only slow down.
TSAN_TARGETS = [
    "common_base", "common_net", "common_kube", "common_compute", "local_cluster_apiserver",
    "model_server_engine",
]


@dataclasses.dataclass
class Result:
    part: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def environment():
    env = dict(os.environ)
    # Objects compiled in another checkout are the same objects.
    env.setdefault("CCACHE_BASEDIR", str(ROOT))
    env.setdefault("CCACHE_NOHASHDIR", "1")
    env.setdefault("CCACHE_MAXSIZE", "8G")
    return env


def say(text):
    print(f"test: {text}", flush=True)


def run(command, **kwargs):
    return subprocess.run(command, cwd=ROOT, env=environment(), check=False, **kwargs)


def build(preset, targets=()):
    """Configures and builds; the tail of the output is shown when it fails."""
    say(f"building {preset} {' '.join(targets)}".rstrip())
    log_path = ROOT / "build" / f"{preset}.log"
    log_path.parent.mkdir(exist_ok=True)
    with open(log_path, "w", encoding="utf-8") as log:
        for command in (["cmake", "--preset", preset],
                        ["ninja", "-C", f"build/{preset}", "-j", JOBS, *targets]):
            if run(command, stdout=log, stderr=subprocess.STDOUT).returncode != 0:
                lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
                print("\n".join(lines[-60:]))
                return False
    return True


def test_programs(preset, label):
    """Name → command of the registered tests with a label."""
    listing = run(["ctest", "--test-dir", f"build/{preset}", "--show-only=json-v1", "-L",
                   f"^{label}$"], capture_output=True, text=True)
    programs = {}
    for test in json.loads(listing.stdout)["tests"]:
        programs[test["name"]] = test["command"]
    return programs


def run_gtest(result, name, command, timeout):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        started = time.monotonic()
        try:
            done = run([*command, f"--gtest_output=json:{report}"], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout)
            output, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired as expired:
            output = (expired.stdout or b"").decode(errors="replace") + f"\ntimeout after {timeout} s"
            code = 1
        passed = failed = skipped = 0
        if report.exists():
            for suite in json.loads(report.read_text(encoding="utf-8"))["testsuites"]:
                for case in suite["testsuite"]:
                    full = f"{name}: {suite['name']}.{case['name']}"
                    if case.get("failures"):
                        failed += 1
                        result.failures.append(full)
                    elif case.get("result") == "SKIPPED":
                        skipped += 1
                    elif case.get("status") == "RUN":
                        passed += 1
        if code != 0 and failed == 0:  # It crashed, or a sanitizer spoke up at its end.
            failed += 1
            result.failures.append(f"{name}: exit code {code}")
        if failed:
            print("\n".join(output.splitlines()[-150:]))
        result.passed += passed
        result.failed += failed
        result.skipped += skipped
        say(f"{result.part} {name}: {passed} passed, {failed} failed"
            + (f", {skipped} skipped" if skipped else "")
            + f" ({time.monotonic() - started:.1f} s)")
        for line in output.splitlines():
            if line.startswith("SKIPPED: "):
                say(f"  {line}")


def run_unit(part, preset, only=None, timeout=300):
    result = Result(part)
    targets = [] if preset == "release" else (
        [f"{name}_test" for name in only] if only else ["unit_tests"])
    if not build(preset, targets):
        result.failed, result.failures = 1, [f"{part}: build of {preset}"]
        return result
    for name, command in test_programs(preset, "unit").items():
        if only is None or name in only:
            run_gtest(result, name, command, timeout)
    return result


def run_tidy():
    result = Result("tidy")
    if not (ROOT / "build/release/compile_commands.json").exists() and not build("release"):
        result.failed, result.failures = 1, ["tidy: build of release"]
        return result
    done = run([sys.executable, "tools/tidy/tidy.py"], capture_output=True, text=True)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    for line in done.stdout.splitlines():
        if line.startswith("ok "):
            result.passed += 1
        elif line.startswith("FAILED "):
            result.failed += 1
            result.failures.append("tidy: " + line[7:])
        elif line.startswith("skipped "):
            result.skipped += 1
    if done.returncode != 0 and result.failed == 0:
        result.failed, result.failures = 1, ["tidy: the check itself failed"]
    return result


def run_fuzz():
    """Each fuzz target for a few seconds, from its seeds and what it found before."""
    result = Result("fuzz")
    if shutil.which("clang++-22") is None:
        say("SKIPPED: fuzz targets need clang-22 (tools/setup --tests)")
        result.skipped = 1
        return result
    if not build("fuzz", ["fuzz_targets"]):
        result.failed, result.failures = 1, ["fuzz: build"]
        return result
    # The quarantine would count as memory of the parser.
    os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=16:allocator_may_return_null=1:detect_leaks=1"
    seconds = os.environ.get("FUZZ_SECONDS", "10")
    for program in sorted((ROOT / "build/fuzz/bin").glob("fuzz_*")):
        seeds = ROOT / "tools/testing/fuzz/seeds" / program.name.removeprefix("fuzz_")
        corpus = ROOT / "build/fuzz/corpus" / program.name
        corpus.mkdir(parents=True, exist_ok=True)
        command = [str(program), f"-max_total_time={seconds}", "-rss_limit_mb=256", "-timeout=5",
                   "-print_final_stats=1", f"-artifact_prefix={corpus}/", str(corpus)]
        if seeds.is_dir():
            command.append(str(seeds))
        done = run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                   errors="replace")
        if done.returncode == 0:
            result.passed += 1
        else:
            result.failed += 1
            result.failures.append(f"fuzz: {program.name}")
            print("\n".join(done.stdout.splitlines()[-60:]))
        say(f"fuzz {program.name}: {'passed' if done.returncode == 0 else 'FAILED'}")
    return result


def run_integration(label="integration"):
    result = Result(label)
    if not build("release"):
        result.failed, result.failures = 1, [f"{label}: build of release"]
        return result
    for name, command in test_programs("release", label).items():
        run_gtest(result, name, command, 900)
    return result


PARTS = {
    "unit": lambda: run_unit("unit", "release"),
    "tidy": run_tidy,
    "asan": lambda: run_unit("asan", "asan", timeout=600),
    "tsan": lambda: run_unit("tsan", "tsan", only=TSAN_TARGETS, timeout=600),
    "fuzz": run_fuzz,
    "integration": run_integration,
    "kill": lambda: run_integration("kill"),
}


def main():
    wanted = sys.argv[1].split(",")
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        print(f"test: unknown part {unknown[0]}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1")
    os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    os.environ.setdefault(
        "TSAN_OPTIONS", f"suppressions={ROOT}/tools/testing/tsan.supp:second_deadlock_stack=1")
    results = []
    for part in wanted:
        started = time.monotonic()
        result = PARTS[part]()
        result.seconds = time.monotonic() - started
        results.append(result)
    print()
    print(f"{'part':<12} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for result in results:
        print(f"{result.part:<12} {result.passed:>7} {result.failed:>7} {result.skipped:>8} "
              f"{result.seconds:>8.1f}")
    failures = [failure for result in results for failure in result.failures]
    for failure in failures:
        print(f"FAILED {failure}")
    passed, failed, skipped = (sum(getattr(result, name) for result in results)
                               for name in ("passed", "failed", "skipped"))
    if shutil.which("ccache"):
        run(["ccache", "--trim-max-size", "8G"], capture_output=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
