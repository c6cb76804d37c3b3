"""Reads the tree and says what is out of place. One line per check: "ok NAME" or "FAILED NAME: why".

Checks: include arrows between folders, heavy headers kept out of ours, every source and test listed in
a CMakeLists.txt, leftovers, clang-format on everything, clang-tidy on what changed since TIDY_BASE
(default: the commit before HEAD).
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CODE = (".cc", ".h", ".cu", ".cuh")

# Folder → what it may include, by the first parts of an include path. ARCHITECTURE: "Arrows".
BASE = ["common/base"]
NET = BASE + ["common/net", "common/metrics"]
SERVICE = NET + ["kaito/"]  # kaito/…: the generated protos.
CONTROLLER = SERVICE + ["common/kube", "common/catalog"]
TOOL = CONTROLLER + ["common/oci"]
ARROWS = {
    "services/common/base": BASE,
    "services/common/metrics": BASE + ["common/metrics"],
    "services/common/net": NET,
    "services/common/kube": NET + ["common/kube"],
    "services/common/oci": NET + ["common/oci"],
    "services/common/catalog": BASE + ["common/catalog"],
    "services/common/compute": BASE + ["common/compute"],
    "services/common/llm": BASE + ["common/compute", "common/llm"],
    "services/workspace-controller": CONTROLLER + ["workspace-controller"],
    "services/gpu-provisioner": CONTROLLER + ["gpu-provisioner"],
    "services/model-server/gateway": SERVICE + ["model-server/gateway"],
    "services/model-server": SERVICE + ["common/llm", "common/compute", "common/oci", "model-server"],
    "tools/local-cluster": TOOL + ["local-cluster"],
    "tools/kaito": TOOL + ["kaito"],
    "tools/bench": ["common/", "model-server", "kaito/", "bench"],
    "tools/testing": ["common/", "model-server", "local-cluster", "gpu-provisioner",
                      "workspace-controller", "kaito"],
    "integration-tests": BASE + ["common/net", "common/kube", "kaito/", "integration-tests"],
}
# Our own folders; any other quoted include is a package.
OURS = ("common/", "workspace-controller/", "gpu-provisioner/", "model-server/", "tuner/", "kaito/",
        "local-cluster/", "simulator/", "bench/", "integration-tests/")
HEAVY = re.compile(r'#include [<"](boost/(beast|asio)|boost/json\.hpp|grpcpp/|.*\.pb\.h)')
LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|DISABLED_|GTEST_SKIP\(\)\s*;|<<<<<<<|>>>>>>>")
FOREIGN = re.compile(r"/work/|/tmp/seams|pypi\.org|deb\.debian\.org|registry\.npmjs|proxy\.golang\.org")

failures = 0


def report(name, problems, limit=30):
    global failures
    if not problems:
        print(f"ok {name}", flush=True)
        return
    failures += 1
    print(f"FAILED {name}: {len(problems)} problem(s)", flush=True)
    for problem in problems[:limit]:
        print(f"  {problem}")
    if len(problems) > limit:
        print(f"  … and {len(problems) - limit} more")


def tracked():
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout
    return [path for path in listing.splitlines() if (ROOT / path).is_file()]


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def arrow_row(path):
    rows = [row for row in ARROWS if path.startswith(row + "/")]
    return max(rows, key=len) if rows else None


def check_arrows(code):
    problems = []
    for path in code:
        row = arrow_row(path)
        if row is None:
            problems.append(f"{path}: no row in the table of arrows")
            continue
        for include in re.findall(r'^#include "([^"]+)"', text_of(path), re.M):
            if not include.startswith(OURS):
                continue
            generated = re.match(r"kaito/[a-z]+/v\d+/", include)
            key = "kaito/" if generated else include
            allowed = ARROWS[row]
            if (generated and path.startswith("services/common/net/") and
                    path.endswith("_test.cc")):
                continue  # A gRPC server is tested with a real service.
            if generated and "kaito/" not in allowed:
                problems.append(f"{path}: may not include {include}")
            elif not generated and not any(
                    key.startswith(entry.rstrip("/") + "/") for entry in allowed):
                problems.append(f"{path}: may not include {include}")
            elif "/gateway/" in include and not path.startswith("services/model-server/gateway/"):
                problems.append(f"{path}: may not include {include}")
    report("arrows between folders", problems)


def check_heavy(code):
    """A heavy include may stand in a header that only its own service or library includes."""
    users = {}
    for path in code:
        for include in re.findall(r'^#include "([^"]+)"', text_of(path), re.M):
            users.setdefault(include, set()).add(path)
    problems = []
    for path in code:
        match = HEAVY.search(text_of(path)) if path.endswith(".h") else None
        if match is None:
            continue
        reached, waiting = set(), [path]
        while waiting:  # Through other headers of the folder.
            header = waiting.pop()
            for user in users.get(re.sub(r"^(services|tools)/", "", header), set()) - reached:
                reached.add(user)
                if user.endswith(".h"):
                    waiting.append(user)
        outside = sorted(user for user in reached if arrow_row(user) != arrow_row(path))
        if outside:
            problems.append(f"{path}: {match.group(0)} reaches {outside[0]}")
    report("heavy headers stay in sources", problems)


def check_listed(files):
    problems = []
    for path in files:
        if not path.endswith((".cc", ".cu")):
            continue
        folder = pathlib.PurePosixPath(path).parent
        name = path
        while True:  # The list may stand in a folder above.
            cmake = ROOT / folder / "CMakeLists.txt"
            relative = str(pathlib.PurePosixPath(path).relative_to(folder))
            if cmake.exists() and re.search(rf"(^|[\s(]){re.escape(relative)}([\s)]|$)",
                                            cmake.read_text(encoding="utf-8"), re.M):
                break
            if str(folder) == ".":
                problems.append(f"{name} is in no CMakeLists.txt")
                break
            folder = folder.parent
    report("every source and test is listed", problems)


def check_leftovers(files):
    problems = []
    for path in files:
        if path.startswith(("tools/tidy/", "deploy/presets/", "deploy/gpu-types/")) or "testdata" in path:
            continue
        if not path.endswith(CODE + (".py", ".sh", ".txt", ".cmake", ".md", ".yaml", ".proto")):
            continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if LEFTOVERS.search(line) or FOREIGN.search(line):
                problems.append(f"{path}:{number}: {line.strip()[:100]}")
    report("no leftovers", problems)


def check_format(code):
    tool = shutil.which("clang-format-22") or shutil.which("clang-format")
    if tool is None:
        print("skipped clang-format: not installed (tools/setup --tests)")
        return
    done = subprocess.run([tool, "--dry-run", "--Werror", *code], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    bad = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error: code should be clang-formatted",
                                done.stderr, re.M)))
    report("clang-format", [f"{path}: run clang-format-22 -i on it" for path in bad])


def changed_sources():
    base = os.environ.get("TIDY_BASE", "HEAD~1")
    names = set()
    for command in (["git", "diff", "--name-only", "--diff-filter=AMR", base],
                    ["git", "ls-files", "-o", "--exclude-standard"]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            names.update(done.stdout.splitlines())
    return sorted(name for name in names if name.endswith(".cc") and (ROOT / name).is_file())


def check_clang_tidy():
    tool = shutil.which("clang-tidy-22")
    if tool is None:
        print("skipped clang-tidy: not installed (tools/setup --tests)")
        return
    database = ROOT / "build/release"
    known = (database / "compile_commands.json").read_text(encoding="utf-8")
    sources = [name for name in changed_sources() if f'"{ROOT / name}"' in known]

    def one(name):
        done = subprocess.run([tool, "-p", str(database), "--quiet", name], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        return [line for line in done.stdout.splitlines() if re.search(r": (error|warning): ", line)]

    problems = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for lines in pool.map(one, sources):
            problems.extend(line.replace(str(ROOT) + "/", "") for line in lines)
    report(f"clang-tidy on {len(sources)} changed sources", sorted(set(problems)))


def main():
    files = tracked()
    code = [path for path in files if path.endswith(CODE)]
    check_arrows(code)
    check_heavy(code)
    check_listed(files)
    check_leftovers(files)
    check_format(code)
    check_clang_tidy()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
