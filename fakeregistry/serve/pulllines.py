"""Ready-made commands that pull an image from a registry, for well-known clients.

They are meant to be pasted into a shell; what they need (CA, credentials) stands in them.
"""

import shlex
from pathlib import Path
from urllib.parse import urlencode

from fakeregistry.auth.tokens import BearerAuth
from fakeregistry.honest.layouts import LaidOut
from fakeregistry.placed import Image

ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    )
)


def pull_lines(image: Image | LaidOut, ca: Path | None) -> dict[str, str]:
    """Command lines by client: ``skopeo``, ``crane``, ``curl`` (which shows the manifest).

    ``ca`` is the CA's file where the registry speaks TLS; skopeo wants its folder.
    """
    return {"skopeo": _skopeo(image, ca), "crane": _crane(image, ca), "curl": _curl(image, ca)}


def _credentials(image: Image | LaidOut) -> str | None:
    auth = image.registry.auth
    if auth is None or (isinstance(auth, BearerAuth) and auth.anonymous):
        return None
    return f"{auth.credentials.username}:{auth.credentials.password}"


def _skopeo(image: Image | LaidOut, ca: Path | None) -> str:
    words = ["skopeo", "copy"]
    words += ["--src-tls-verify=false"] if ca is None else ["--src-cert-dir", str(ca.parent)]
    credentials = _credentials(image)
    if credentials is not None:
        words += ["--src-creds", credentials]
    return shlex.join([*words, f"docker://{image.reference}", "oci:pulled"])


def _crane(image: Image | LaidOut, ca: Path | None) -> str:
    pull = shlex.join(["crane", "pull", "--format", "oci", image.reference, "pulled"])
    if ca is None:
        # crane takes plain http by itself on loopback names only; --insecure allows it anywhere.
        pull = pull.replace("pull ", "pull --insecure ", 1)
    else:
        pull = f"SSL_CERT_FILE={shlex.quote(str(ca))} {pull}"
    credentials = _credentials(image)
    if credentials is None:
        return pull
    user, _, password = credentials.partition(":")
    login = shlex.join(["crane", "auth", "login", image.host, "-u", user, "-p", password])
    return f"{login} && {pull}"


def _curl(image: Image | LaidOut, ca: Path | None) -> str:
    trust = [] if ca is None else ["--cacert", str(ca)]
    url = f"{image.registry.base_url}/v2/{image.repository}/manifests/{image.tag or image.digest}"
    asked = shlex.join([f"Accept: {ACCEPT}", url])
    credentials = _credentials(image)
    user = [] if credentials is None else ["-u", credentials]
    auth = image.registry.auth
    if not isinstance(auth, BearerAuth):
        return f"{shlex.join(['curl', '-sS', *trust, *user])} -H {asked}"
    query = urlencode({"service": auth.service, "scope": f"repository:{image.repository}:pull"})
    token = shlex.join(["curl", "-sS", *trust, *user, f"{auth.realm}?{query}"])
    value = r"""sed -n 's/.*"token": *"\([^"]*\)".*/\1/p'"""
    fetched = f'-H "Authorization: Bearer $({token} | {value})"'
    return f"{shlex.join(['curl', '-sS', *trust])} {fetched} -H {asked}"
