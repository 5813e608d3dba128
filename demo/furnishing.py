"""A KMS with a tenant, two workloads, a policy and a key: what every demo begins with."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from demo.world import World

TENANT = "acme"
ADMIN = "acme-admin"
NAMES = {"web": "app=web", "batch": "app=batch"}


def initialise(world: World, marker: str) -> dict[str, str]:
    made: dict[str, str] = world.json(
        "kms", "init", "--data", world.path("kms"), "--tenant", TENANT,
        "--trust-domain", f"{marker[-12:]}.test".replace("-", "a"),
        "--listen", "127.0.0.1:0", "--enrolment-listen", "127.0.0.1:0",
    )  # fmt: skip
    shutil.copytree(world.path("kms") / "credentials", world.path("credentials"))
    fingerprint = made["documents_root"][:23]
    world.say(f"kms init: documents root {fingerprint}..., an operator and an administrator")
    return made


def write_profiles(world: World, ports: dict[str, Any], fingerprint: str) -> None:
    """What a person keeps in his configuration: where the KMS is, and which documents root he trusts."""
    lines = [
        f'server = "{ports["listen"]}"',
        f'enrolment_server = "{ports["enrolment_listen"]}"',
        f'trust_keys = ["{fingerprint}"]',
        f'tenant = "{TENANT}"',
    ]
    for name in ("", ADMIN, *NAMES):
        home = Path(world.environment(name)["HOME"])
        profile = home / ".config" / "blindfold" / "profile.toml"
        profile.parent.mkdir(parents=True, exist_ok=True)
        profile.write_text("\n".join(lines) + "\n")


def enrol(world: World) -> None:
    world.run("kms", "namespace", "create", f"tenants/{TENANT}/namespaces/prod", identity=ADMIN)
    for name, label in NAMES.items():
        token = world.path(f"{name}.token")
        identity = f"tenants/{TENANT}/namespaces/prod/identities/{name}"
        world.run(
            "kms", "identity", "create-token", identity, "--label", label, "--out", token, identity=ADMIN
        )
        world.run("kms", "identity", "enrol", "--out", world.path("credentials") / name, token, identity="")
    world.say("two workloads enrolled with one-use tokens: web (app=web) and batch (app=batch)")


def policy(world: World, marker: str) -> None:
    rule = {"name": "web servers", "action": "ALLOW", "client_selector": {"expressions": ["app=web"]}}
    world.path("policy.json").write_text(json.dumps({"description": marker, "rules": [rule]}))
    name = f"tenants/{TENANT}/namespaces/prod/secretPolicies/web-tls"
    world.run("kms", "secret-policy", "create", name, world.path("policy.json"), identity=ADMIN)
    begun = time.monotonic()
    world.run("kms", "blindfold-key", "generate", "--wait", identity=ADMIN)
    took = time.monotonic() - begun
    world.say(f"secret policy web-tls allows app=web; a 3072-bit key of safe primes in {took:.0f} s")


def fetch_documents(world: World) -> None:
    name = f"tenants/{TENANT}/namespaces/prod/secretPolicies/web-tls"
    world.run("blindfold", "public-key", "get", "--out", world.path("key.bundle"), identity=ADMIN)
    world.run(
        "blindfold", "policy-document", "get", name, "--out", world.path("policy.bundle"), identity=ADMIN
    )
    world.say("fetched the two public documents that sealing needs, signed under the documents root")
