"""Checks decisions with the Rust Cedar.

Reads JSON lines, one case each: policies [[id, text]], those among them that are said
to be invalid ("refused": [[id, text]]), a schema (text, or null), entities, and requests
with the decision, the reasons and the errors that are expected, policy ids each. Says
what differs, at most twenty times, then how many there were, and ends with 1 if any did.
With -v it also lists the policies that Pavise refuses and the Rust Cedar would not.
"""

import json
import re
import sys
from collections import Counter

import cedarpy

MOST = 20
VERBOSE = "-v" in sys.argv[2:]
POLICY = re.compile(r"`policy(\d+)`")


class Differences:
    def __init__(self):
        self.seen = 0

    def add(self, case, text):
        self.seen += 1
        if self.seen <= MOST:
            print(f"case {case}: {text}")


def names(numbered, policies):
    """Policy ids of the parser's own names, policy0, policy1 and so on, sorted."""
    return sorted(policies[int(n.removeprefix("policy"))][0] for n in numbered)


def check_validity(case, counts, differences):
    """The policies accepted must be valid together; each refused one is tried alone."""
    schema = cedarpy.Schema.from_str(case["schema"])
    text = "\n".join(text for _, text in case["policies"])
    result = cedarpy.validate_policies(text, schema)
    counts["valid"] += len(case["policies"])
    for error in result.errors:
        number = int(re.search(r"policy(\d+)", str(error)).group(1))
        differences.add(case["name"], f"accepted, and not valid: {error}: {case['policies'][number][1]}")
    for id, text in case.get("refused") or []:
        try:
            strict = not cedarpy.validate_policies(text, schema).validation_passed
        except ValueError:
            strict = True
        counts["refused by both" if strict else "refused by Pavise alone"] += 1
        if not strict and VERBOSE:
            print(f"case {case['name']}: refused, and valid: {text}")


def check_decisions(case, counts, differences):
    policies = case["policies"]
    parsed = cedarpy.PolicySet.from_str("\n".join(text for _, text in policies))
    if len(parsed) != len(policies):
        differences.add(case["name"], f"{len(policies)} policies were parsed as {len(parsed)}")
        return
    entities = cedarpy.Entities.from_json_str(json.dumps(case["entities"]))
    requests = [{key: r[key] for key in ("principal", "action", "resource", "context")} for r in case["requests"]]
    for want, got in zip(case["requests"], cedarpy.is_authorized_batch(requests, parsed, entities), strict=True):
        allow = got.decision == cedarpy.Decision.Allow
        reasons = names(got.diagnostics.reasons, policies)
        errors = names((f"policy{POLICY.search(e).group(1)}" for e in got.diagnostics.errors), policies)
        counts["allowed" if allow else "denied by a policy" if reasons else "denied by default"] += 1
        counts["with errors"] += bool(errors)
        if got.decision == cedarpy.Decision.NoDecision:
            differences.add(case["name"], f"{want} was not decided: {got.diagnostics.errors}")
        elif (allow, reasons, errors) != (want["allow"], want["reasons"] or [], want["errors"] or []):
            odd = set(reasons) ^ set(want["reasons"] or []) | set(errors) ^ set(want["errors"] or [])
            texts = " ".join(text for id, text in policies if id in odd)
            differences.add(case["name"], f"{want}: Rust says {allow} for {reasons}, errors {got.diagnostics.errors}; {texts}")


def main():
    counts, differences = Counter(), Differences()
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            if case.get("schema"):
                check_validity(case, counts, differences)
            check_decisions(case, counts, differences)
    print(", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    print(f"{differences.seen} differences")
    return 1 if differences.seen or not counts else 0


if __name__ == "__main__":
    sys.exit(main())
