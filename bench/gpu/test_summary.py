"""What Deno's test logs say, in short: test_summary.py LOG...

Names of failed tests with the first lines of each error, then totals. A log's first line is
`# file`, its last `# exit status N`. Exits 1 unless every file passed.
"""

import re
import sys
from pathlib import Path

LINES_PER_FAILURE = 7
MAX_FAILURES = 25  # whose errors are shown

passed = failed = ignored = shown = 0
bad_files = []
for log in sys.argv[1:]:
    lines = Path(log).read_text(errors="replace").splitlines()
    file = lines[0].removeprefix("# ")
    status = int(lines[-1].rsplit(" ", 1)[1])
    text = "\n".join(lines)
    total = re.search(
        r"^(?:ok|FAILED) \| (\d+) passed.*? \| (\d+) failed(?: \| (\d+) ignored)?", text, re.M
    )
    if total:
        passed += int(total[1])
        failed += int(total[2])
        ignored += int(total[3] or 0)
    if status == 0 and total:
        continue
    bad_files.append(file)
    if not total:
        what = "killed: it took too long" if status in (124, 137) else f"exit status {status}"
        print(f"✗ {file}: {what}; its last lines:")
        print("\n".join("    " + line[:160] for line in lines[-9:-1]))
        continue
    errors = text.split("\n ERRORS \n", 1)[-1].split("\n FAILURES \n", 1)[0]
    for failure in re.split(r"\n\n(?=\S.* => \S+\.ts:\d+)", errors):
        failure = [line for line in failure.strip().splitlines() if line.strip()]
        if not failure or " => " not in failure[0]:
            continue
        shown += 1
        if shown > MAX_FAILURES:
            continue
        print(f"✗ {failure[0]}")
        useful = [line for line in failure[1:] if not line.lstrip().startswith("at ")]
        print("\n".join("    " + line[:200] for line in useful[:LINES_PER_FAILURE]))
if shown > MAX_FAILURES:
    print(f"… and {shown - MAX_FAILURES} more: see the log")
print(f"{len(sys.argv) - 1} files: {passed} passed, {failed} failed, {ignored} ignored", end="")
print(f"; not clean: {', '.join(bad_files)}" if bad_files else "")
sys.exit(1 if bad_files else 0)
