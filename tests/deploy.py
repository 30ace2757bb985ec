#!/usr/bin/env python3
"""Checks what an operator installs: units, lambda: scripts(work), manifests, alert rules, dashboard.

    deploy.py QLC --promtool PATH

Wants the packages of .ci/deploy-requirements.txt beside its interpreter, and systemd-analyze. Says what was checked, one line
each; ends with the first thing that is wrong and exit code 1. Installs below a temporary folder only, and knows of qlc
only its command line. tests/alerts.yml holds the cases of the alert rules; that the metrics exist in the code is a test
of the crate's own.
"""

import argparse
import copy
import json
import os
import pathlib
import re
import shlex
import shutil
import sys
import tempfile

import yaml

from checks import Wrong, check, run

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(sys.executable).parent
# systemd-analyze counts in tenths: an exposure of 2.0.
EXPOSURE = 20
HARDENING = "# --- hardening"


def files_below(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- units -----------------------------------------------------------------------------------------------------------


def units(qlc, work):
    """The units as systemd reads them, with the program where it is on this machine."""
    folder = work / "units"
    folder.mkdir()
    sources = sorted((DEPLOY / "systemd").iterdir())
    for source in sources:
        text = source.read_text().replace("/usr/local/bin/qlc", str(qlc))
        # That the guide is installed is for the script to see to.
        (folder / source.name).write_text(text)
    said = run("systemd-analyze", "verify", "--man=no", *sorted(folder.iterdir()))
    ours = [line for line in said.splitlines() if "quantlab" in line]
    check(not ours, "systemd-analyze verify says:\n" + "\n".join(ours))
    services = [s for s in sources if s.suffix == ".service"]
    for service in services:
        run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", folder / service.name)
    blocks = {s.name: s.read_text().split(HARDENING, 1)[1].split("\n\n", 1)[0].strip() for s in services}
    check(len(set(blocks.values())) == 1, f"the hardening differs among {sorted(blocks)}")
    for timer in sources:
        if timer.suffix == ".timer":
            [when] = re.findall(r"^OnCalendar=(.*)$", timer.read_text(), re.M)
            run("systemd-analyze", "calendar", when)
            check(when.endswith(" UTC"), f"{timer.name}: {when} is not in UTC")
            check(timer.with_suffix(".service").exists(), f"{timer.name} starts nothing")
    return f"{len(sources)} units verified, exposure of {len(services)} below {EXPOSURE / 10}"


# --- scripts and image ----------------------------------------------------------------------------------------------


def scripts(work):
    places = [*DEPLOY.glob("*.sh"), *(DEPLOY / "package").iterdir(), DEPLOY / "python" / "check", *(ROOT / ".ci").iterdir()]
    found = sorted(path for path in places if path.is_file() and re.match(rb"#!.*sh\n", path.read_bytes()))
    run(BIN / "shellcheck", *found)
    [sidecar] = [c for c in containers(pod(collector())) if c["name"] == "upload"]
    (work / "sidecar").write_text(f"#!/bin/sh\n{sidecar['args'][0]}")
    run(BIN / "shellcheck", work / "sidecar")
    images = [DEPLOY / "Dockerfile", DEPLOY / "package" / "Dockerfile"]
    run(BIN / "hadolint", *images)
    flows = sorted((ROOT / ".github" / "workflows").iterdir())
    # It runs the shellcheck of its PATH on the commands in them.
    path = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    run(BIN / "actionlint", *flows, env=path)
    # And it looks: at keys, at expressions, at the commands.
    for right, wrong in (("runs-on:", "runs_on:"), ("github.ref }}", "github.reff }}"), ("run: .ci/run", "run: .ci/run $GITHUB_REF")):
        text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
        check(right in text, f"ci.yml has no {right}")
        (work / "wrong.yml").write_text(text.replace(right, wrong))
        run(BIN / "actionlint", work / "wrong.yml", env=path, code=1)
    return f"{len(found)} scripts, {len(images)} Dockerfiles and {len(flows)} workflows are clean"


def manifests():
    paths = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for path in paths:
        run(BIN / "kubernetes-validate", "--strict", path)
    kinds = [doc["kind"] for path in paths for doc in yaml.safe_load_all(path.read_text())]
    check({"CronJob", "StatefulSet"} <= set(kinds), f"only {kinds}")
    docs = [doc for path in paths for doc in yaml.safe_load_all(path.read_text())]
    pods = hardened(docs)
    # And it looks.
    for name, value in (("readOnlyRootFilesystem", False), ("capabilities", {}), ("privileged", True)):
        spoilt = copy.deepcopy(docs)
        containers(next(filter(None, map(pod, spoilt))))[0]["securityContext"][name] = value
        check(is_refused(hardened, spoilt), f"a container with {name}: {value} passes")
    filled_and_pruned(docs)
    cluster = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "cluster.yaml").read_text()))
    closed = closed_ports(cluster)
    # And it looks: at an object that is missing, at a rule for everybody, at peers from elsewhere, at a name that no pod has.
    without = [doc for doc in cluster if doc["kind"] != "NetworkPolicy"]
    for spoil in (
        lambda rule: rule.pop("from"),
        lambda rule: rule["from"].append({"ipBlock": {"cidr": "0.0.0.0/0"}}),
        lambda rule: rule["from"].append({"podSelector": {}}),
        lambda rule: rule["from"][0].update(namespaceSelector={}),
        lambda rule: rule["from"][0]["podSelector"]["matchExpressions"][0]["values"].append("quantlab-other"),
    ):
        spoilt = copy.deepcopy(cluster)
        [policy] = [doc for doc in spoilt if doc["kind"] == "NetworkPolicy"]
        spoil(policy["spec"]["ingress"][0])
        check(is_refused(closed_ports, spoilt), f"a policy with {policy['spec']['ingress']} passes")
    check(is_refused(closed_ports, without), "a cluster without a policy passes")
    return f"{len(kinds)} Kubernetes objects fit their schemas, {pods} kinds of pods are hardened; {closed} ports of the cluster are closed to other pods"


def collector():
    """The object that starts the collector."""
    docs = yaml.safe_load_all((DEPLOY / "kubernetes" / "collector.yaml").read_text())
    return next(doc for doc in docs if doc["kind"] == "StatefulSet")


def pod(doc):
    """The template of an object that starts pods."""
    spec = doc.get("spec", {})
    return spec.get("jobTemplate", {}).get("spec", spec).get("template")


def named(selector):
    """The names that a selector admits; what is written in another form admits any."""
    match selector:
        case {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": values}]} if len(selector) == 1:
            return set(values)
    raise Wrong(f"a selector that may admit any pod: {selector}")


def closed_ports(docs):
    """That each pod with a port is behind a policy which admits the cluster's own pods of its namespace."""
    pods = {t["metadata"]["labels"]["app.kubernetes.io/name"]: t["spec"] for t in map(pod, docs) if t}
    ports = {name: [p["name"] for c in spec["containers"] for p in c.get("ports", [])] for name, spec in pods.items()}
    listening = {name for name, own in ports.items() if own}
    policies = [doc["spec"] for doc in docs if doc["kind"] == "NetworkPolicy"]
    check(len(policies) == 1, f"{len(policies)} policies")
    [policy] = policies
    check(policy["policyTypes"] == ["Ingress"], f"the policy is for {policy['policyTypes']}")
    check(named(policy["podSelector"]) == listening, f"the policy is not that of {sorted(listening)}")
    for rule in policy["ingress"]:
        check(bool(rule.get("from")), "a rule admits everybody")
        for peer in rule["from"]:
            check(set(peer) == {"podSelector"}, f"a rule admits more than pods of its namespace: {peer}")
            check(named(peer["podSelector"]) <= set(pods), f"a rule admits pods that are not the cluster's: {peer}")
    admitted = {p["port"] for rule in policy["ingress"] for p in rule["ports"]}
    check(admitted == {p for own in ports.values() for p in own}, f"the policy admits {sorted(admitted)}")
    return sum(map(len, ports.values()))


def containers(template):
    return template["spec"].get("initContainers", []) + template["spec"]["containers"]


def hardened(docs):
    """That each pod is no user of its machine, has no token and no privilege, and writes where a volume is only."""
    found = [t for t in map(pod, docs) if t]
    for template in found:
        name, spec = template["metadata"]["labels"]["app.kubernetes.io/name"], template["spec"]
        check(spec["automountServiceAccountToken"] is False, f"{name} has a token")
        of_pod = dict(spec["securityContext"])
        of_pod.pop("fsGroupChangePolicy", None)
        user = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), 10001)
        check(of_pod == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}} | user, f"{name}: {of_pod}")
        for container in containers(template):
            narrow = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            check(container["securityContext"] == narrow, f"{name}/{container['name']}: {container['securityContext']}")
            check("memory" in container["resources"]["limits"], f"{name}/{container['name']} has no limit")
    return len(found)


def executed(unit):
    """The commands and the environment of a unit."""
    text = (DEPLOY / "systemd" / f"quantlab-{unit}.service").read_text()
    words = [word for line in re.findall(r"^Environment=(.*)$", text, re.M) for word in shlex.split(line)]
    return [shlex.split(line) for line in re.findall(r"^ExecStart=(.*)$", text, re.M)], dict(w.split("=", 1) for w in words)


def filled_and_pruned(docs):
    """The sidecar and the jobs run what the units run; what the sidecar fills is compacted, and pruned after the volume."""
    named_docs = {doc["metadata"]["name"]: doc for doc in docs if pod(doc)}
    [sidecar] = pod(named_docs["quantlab-collector"])["spec"]["initContainers"]
    script = sidecar["args"][0]
    of_unit, told = executed("upload")
    lines = [shlex.split(line.strip().removesuffix("&&")) for line in script.splitlines() if line.strip().startswith("rclone ")]
    check(lines == [["rclone", *words[1:]] for words in of_unit], f"the sidecar runs {lines}, the unit {of_unit}")
    env = {e["name"]: e.get("value") for e in sidecar["env"]}
    check(told.items() <= env.items() and "QLC_UPLOAD_TO" in env, f"the sidecar has {env}, the unit {told}")
    check(sidecar["restartPolicy"] == "Always", "the sidecar ends before the collector begins")
    mounts = {m["name"]: m for m in sidecar["volumeMounts"]}
    check(mounts["spool"]["readOnly"] is True, "the sidecar may write to the spool")
    to = next(doc["data"]["upload-to"] for doc in docs if doc["kind"] == "ConfigMap")

    def variable(name, key):
        [container] = pod(named_docs[name])["spec"]["containers"]
        return {e["name"]: e.get("value") for e in container["env"]}[key]

    for name in ("quantlab-compact", "quantlab-compact-cluster", "quantlab-prune"):
        check(variable(name, "QLC_SPOOL") == f"s3://{to}", f"{name} does not read what the sidecar fills")
    for name in ("quantlab-prune", "quantlab-prune-volume"):
        [container] = pod(named_docs[name])["spec"]["containers"]
        [script] = container["args"]
        jobs = [shlex.split(part.removeprefix("exec ")) for part in script.split(" && ")]
        check(jobs == [["qlc", *words[1:]] for words in executed("prune")[0]], f"{name} runs {jobs}")
    volume, bucket = (int(variable(f"quantlab-{name}", "QLC_KEEP_DAYS")) for name in ("prune-volume", "prune"))
    check(volume < bucket, f"the volume keeps {volume} days, the bucket {bucket}: what leaves the bucket would be copied again")
    claim = f"{named_docs['quantlab-collector']['spec']['volumeClaimTemplates'][0]['metadata']['name']}-quantlab-collector-0"
    volumes = pod(named_docs["quantlab-prune-volume"])["spec"]["volumes"]
    check(claim in [v.get("persistentVolumeClaim", {}).get("claimName") for v in volumes], f"prune-volume does not mount {claim}")
    [verify] = pod(named_docs["quantlab-verify"])["spec"]["containers"]
    check(verify["args"][:2] == executed("verify")[0][0][1:], f"the job verifies by {verify['args']}")


def is_refused(holds, docs):
    try:
        holds(docs)
    except Wrong:
        return True
    return False


# --- alerts and dashboard -------------------------------------------------------------------------------------------


def heading(name):
    """The anchor of a heading, as hosts of Markdown make it."""
    return re.sub(r"[^a-z0-9 -]", "", name.lower()).replace(" ", "-")


def alerts(promtool, work):
    run(promtool, "check", "rules", DEPLOY / "alerts.yml")
    run(promtool, "test", "rules", ROOT / "tests" / "alerts.yml")
    rules = [r for g in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for r in g["rules"]]
    cases = yaml.safe_load((ROOT / "tests" / "alerts.yml").read_text())["tests"]
    names = {r["alert"] for r in rules}
    fired = {c["alertname"] for t in cases for c in t["alert_rule_test"] if c.get("exp_alerts")}
    check(names == fired, f"without a case in which it fires: {sorted(names - fired)}")
    # A runbook per alert, and no runbook for what is no alert.
    guide = (ROOT / "docs" / "runbook.md").read_text()
    anchors = {heading(h) for h in re.findall(r"^#+ (.*)$", guide, re.M)}
    for rule in rules:
        page, anchor = rule["annotations"]["runbook"].split("#")
        check((ROOT / page).exists() and anchor in anchors, f"{rule['alert']} has no runbook at {page}#{anchor}")
    told = set(re.findall(r"^#+ (Qlc\w+)$", guide, re.M))
    check(told == names, f"runbooks and alerts differ: {sorted(told ^ names)}")

    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    expressions = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])]
    plain = [e.replace("$__rate_interval", "5m").replace("$instance", ".*") for e in expressions]
    path = work / "dashboard-rules.yml"
    rules = [{"record": f"panel:{i}", "expr": e} for i, e in enumerate(plain)]
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", "rules", path)
    ids = [p["id"] for p in dashboard["panels"]]
    check(len(ids) == len(set(ids)), "two panels have one id")
    return f"{len(names)} alerts fire in their cases and have runbooks; {len(plain)} expressions of the dashboard parse"


# --- installation and backfill --------------------------------------------------------------------------------------


def installation(qlc, work):
    root = work / "root"
    script = [DEPLOY / "install.sh", "--root", root, "--binary", qlc]
    said = run(*script, "--dry-run")
    check("/usr/local/bin/qlc" in said and not root.exists(), f"a dry run does something:\n{said}")
    run(*script)
    done = files_below(root)
    check("everything is as it should be" in run(*script), "a second installation does something")
    check(files_below(root) == done, "a second installation changes something")
    toml = root / "etc/quantlab/qlc.toml"
    toml.write_text(toml.read_text() + "# mine\n")
    check("kept" in run(*script) and toml.read_text().endswith("# mine\n"), "settings of the operator were replaced")
    for name in ("qlc.env", "upload.env"):
        check((root / "etc/quantlab" / name).stat().st_mode & 0o077 == 0, f"others may read {name}")
    check(run(root / "usr/local/bin/qlc", "--version").startswith("qlc "), "no qlc was installed")
    check(not (root / "etc/cron.d").exists(), "timer and cron at the same time")
    run(*script, "--scheduler", "cron")
    check((root / "etc/cron.d/quantlab-compact").exists(), "no line of cron")
    run(*script)
    check(not (root / "etc/cron.d/quantlab-compact").exists(), "the line of cron stayed beside the timer")
    run(*script, "--scheduler", "at", code=2)
    return f"installed {len(done)} files below a root, twice, and kept what the operator wrote"


def started(qlc, work):
    """What the units and cron start does what it should, on a demo spool; and so does the backfill."""
    run(qlc, "demo", "--dir", work / "demo", "--quiet")
    spool = work / "demo" / "spool"
    # The settings as installed, but for the places.
    text = (DEPLOY / "qlc.toml").read_text()
    places = {"/opt/quantlab/spool": spool, "/opt/quantlab/archive": work / "archive", "/var/tmp/qlc": work / "spill"}
    for place, here in places.items():
        check(f'"{place}"' in text, f"{place} is not in qlc.toml")
        text = text.replace(f'"{place}"', f'"{here}"')
    (work / "qlc.toml").write_text(text)
    env = {"QLC_CONFIG": str(work / "qlc.toml"), "QLC": str(qlc)}

    # cron: five fields, a user, a command for sh; run with the places of this test.
    [line] = [l for l in (DEPLOY / "quantlab-compact.cron").read_text().splitlines() if l and l[0] != "#"]
    *when, user, command = line.split(None, 6)
    check(when == "0 1 * * *".split() and user == "quantlab", line)
    check(command.endswith(">> /var/log/quantlab-compact.log 2>&1"), line)
    (work / "metrics").mkdir()
    here = {
        "/etc/quantlab/qlc.toml": work / "qlc.toml",
        "/var/lib/quantlab/metrics": work / "metrics",
        "/usr/local/bin/qlc": qlc,
        "/var/log/quantlab-compact.log": work / "cron.log",
    }
    for place, mine in here.items():
        check(place in command, f"{place} is not in {command}")
        command = command.replace(place, str(mine))
    run("sh", "-c", command, code=3)
    check("13 partitions: 13 done, 1 quarantined" in (work / "cron.log").read_text(), "the log of cron does not tell")
    [day] = {path.name.removeprefix("date=") for path in work.glob("archive/exchange=*/stream=*/symbol=*/date=*")}
    told = (work / "metrics" / "qlc.prom").read_text()
    check('qlc_run_exit_code{command="compact"} 3\n' in told, f"the metrics do not tell:\n{told}")
    shutil.rmtree(work / "archive")

    backfill = DEPLOY / "backfill.sh"
    run(backfill, code=2)
    run(backfill, "20260231", "20260301", code=2)
    run(backfill, "20260302", "20260301", code=2)
    run(backfill, day, day, "--dry-run", env=env)
    check(not list(work.glob("archive/exchange=*")), "a dry run of the backfill publishes")
    said = run(backfill, day, day, env=env, code=3)
    check("13 partitions sound" in said, said)
    said = run(backfill, day, day, env=env)
    check("13 partitions: 13 nothing to do" in said, said)

    # The commands of the units, in their order, on what stands now.
    commands = 0
    for name in ["compact", "verify", "prune"]:
        for line in re.findall(r"^ExecStart=(.*)$", (DEPLOY / "systemd" / f"quantlab-{name}.service").read_text(), re.M):
            words = shlex.split(line.replace("/usr/local/bin/qlc", str(qlc)).replace("${QLC_KEEP_DAYS}", "7"))
            run(*words, env=env)
            commands += 1
    return f"cron's line, the backfill and {commands} commands of units do their work on a demo spool"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("qlc", type=pathlib.Path)
    parser.add_argument("--promtool", type=pathlib.Path, required=True)
    typed = parser.parse_args()
    qlc = typed.qlc.resolve()
    with tempfile.TemporaryDirectory(prefix="qlc-deploy-") as folder:
        work = pathlib.Path(folder)
        steps = [
            lambda: units(qlc, work),
            lambda: scripts(work),
            manifests,
            lambda: alerts(typed.promtool, work),
            lambda: installation(qlc, work),
            lambda: started(qlc, work),
        ]
        try:
            for step in steps:
                print(f"ok   {step()}", flush=True)
        except Wrong as wrong:
            print(f"FAIL {wrong}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
