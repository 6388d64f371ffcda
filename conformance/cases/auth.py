"""Authentication: challenges are read as they are written, secrets stay with their hosts."""

from __future__ import annotations

import base64
from typing import Any

from conformance.case import Observed, case, observed
from conformance.contract import AuthConfig
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import (
    BearerAuth,
    an_image,
    any_request,
    basic,
    bearer,
    blob,
    challenge,
    ping,
    redirect_target,
    token,
)

BEARER = 'Bearer realm="{realm}",service="{service}",scope="{scope}"'
"""The challenge as every registry writes it; the braces are filled in by the registry."""

MOST_REQUESTS = 20
"""What a refused pull may cost; the most that was measured is six repeats of one request."""


def _written(world: World, registry: WorldRegistry, words: str, text: Any) -> BearerAuth:
    """Anonymous Bearer authentication whose challenge is written in this way."""
    lie = world.lie(
        words, text, truth=None, where="answer", met=lambda: bool(registry.requests(challenge()))
    )
    return bearer(anonymous=True, challenge=lie)


@case("auth/bearer-challenge-is-answered", covers=("AUTH-01", "AUTH-02"))
def bearer_challenge(registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry that asks for a token is pulled from without any login: a token is fetched."""
    registry.auth = bearer(anonymous=True)
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert registry.requests(token(), status=200)


@case("auth/token-is-fetched-with-the-password", covers=("AUTH-06", "AUTH-01"))
def bearer_with_password(registry: WorldRegistry, puller: CasePuller) -> None:
    """Where only a user gets tokens, the token is asked for with the user's name and password."""
    registry.auth = bearer()
    image = registry.add(an_image())

    pulled = puller.pull(image, auth=registry.auth.credentials)

    assert pulled.succeeded


@case("auth/object-storage-behind-a-token-registry", covers=("AUTH-01", "BLOB-20"))
def object_storage(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Layers behind a redirect to another host arrive, though the registry asks for a token."""
    registry.auth = bearer()
    image = registry.add(an_image(layers=2))
    registry.given(blob()).redirect(to=world.registry("cdn").name)

    pulled = puller.pull(image, auth=registry.auth.credentials)

    assert pulled.succeeded


@case("auth/basic-challenge-is-answered", covers="AUTH-19")
def basic_challenge(registry: WorldRegistry, puller: CasePuller) -> None:
    """A Basic challenge is answered with the user's name and password."""
    registry.auth = basic()
    image = registry.add(an_image())

    pulled = puller.pull(image, auth=registry.auth.credentials)

    assert pulled.succeeded


@case("auth/wrong-password-is-refused-and-bounded", covers="AUTH-20")
def wrong_password(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """With a wrong password the pull fails, and the password isn't repeated without end."""
    registry.auth = basic()
    image = registry.add(an_image())

    pulled = puller.pull(image, auth=world.wrong_credentials(registry))

    assert pulled.refused
    assert len(registry.requests()) <= MOST_REQUESTS, "the same password was sent again and again"


@case("auth/wrong-password-for-a-token-is-refused", covers="AUTH-20")
def wrong_token_password(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Where the token service refuses the password the pull fails, after few requests."""
    registry.auth = bearer()
    image = registry.add(an_image())

    pulled = puller.pull(image, auth=world.wrong_credentials(registry))

    assert pulled.refused
    assert len(registry.requests()) <= MOST_REQUESTS, "the same password was sent again and again"


@case("auth/token-refused-for-ever-ends", covers="AUTH-21")
def token_refused(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry that refuses every token it was shown ends the pull, after few requests."""
    registry.auth = bearer(anonymous=True)
    registry.auth.reject_tokens = world.lie(
        "no token is ever accepted",
        True,
        truth=False,
        where="answer",
        met=lambda: bool(registry.requests(challenge(), authorized=True)),
    )
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.refused
    assert len(registry.requests()) <= MOST_REQUESTS, "tokens were fetched again and again"


@case("auth/bearer-is-found-beside-unknown-scheme", covers="AUTH-16")
def unknown_scheme(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A challenge of an unknown scheme, on a line of its own, doesn't hide the Bearer challenge."""
    words = "a Negotiate challenge stands on a line before"
    registry.auth = _written(world, registry, words, ("Negotiate", BEARER))
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("auth/challenge-before-another-in-one-line", covers="AUTH-17")
def two_challenges(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A second challenge behind the Bearer one, on the same line, doesn't spoil the first."""
    words = "an unknown challenge follows on the same line"
    registry.auth = _written(world, registry, words, BEARER + ', Newauth realm="apps", type=1')
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("auth/challenge-behind-another-in-one-line", covers="AUTH-17b")
def second_challenge(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A Bearer challenge that stands behind an unknown one, on the same line, is found."""
    words = "an unknown challenge stands before, on the same line"
    registry.auth = _written(world, registry, words, 'Newauth realm="apps", type=1, ' + BEARER)
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("auth/comma-inside-quotes", covers="AUTH-18")
def comma(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A comma inside of a quoted value belongs to the value."""
    service = world.lie("the service's name has a comma", "one, two", truth=None, where="answer")
    registry.auth = bearer(anonymous=True, service=service)
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("auth/scheme-and-keys-in-any-case", covers="AUTH-18")
def any_case(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Scheme and parameter names are read in any case."""
    text = 'BEARER Realm="{realm}",SERVICE="{service}",sCoPe="{scope}"'
    registry.auth = _written(world, registry, "scheme and names are in upper case", text)
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("auth/blanks-around-commas", covers="AUTH-18")
def blanks(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Blanks around the commas between parameters are no part of them, and any order is read."""
    text = 'Bearer service="{service}" ,  realm="{realm}" , scope="{scope}"'
    registry.auth = _written(world, registry, "blanks stand around the commas", text)
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("auth/escaped-quote-in-a-challenge", covers="AUTH-18b")
def escaped(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    r"""A quoted pair stands for its second octet: `\"` doesn't end the value, `\:` is a colon."""
    text = r'Bearer error_description="say \"please\" first",' + BEARER.removeprefix("Bearer ")
    text = text.replace("{scope}", r"repository\:app/web\:pull")
    registry.auth = _written(world, registry, "quoted pairs are in the challenge", text)
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.succeeded
    asked = [f"{each.query}&{each.form}" for each in registry.requests(token())]
    assert not any("%5C" in text for text in asked), "a backslash was taken for a part of the scope"


@case("auth/blanks-around-equals", covers="AUTH-18c")
def bad_whitespace(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Blanks around the equals sign, which nobody may send, are skipped all the same."""
    text = 'Bearer realm = "{realm}",service = "{service}",scope = "{scope}"'
    registry.auth = _written(world, registry, "blanks stand around the equals signs", text)
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("auth/realm-query-is-kept", covers="AUTH-03")
def realm_query(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """What the realm's URL already asks for is asked for, beside service and scope."""
    text = BEARER.replace("{realm}", "{realm}?tenant=blue")
    registry.auth = _written(world, registry, "the realm has a query", text)
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert all("tenant=blue" in exchange.query for exchange in registry.requests(token()))


@case("auth/401-without-challenge-is-refused", covers="AUTH-32")
def no_challenge(registry: WorldRegistry, puller: CasePuller) -> None:
    """A 401 that names no way to log in ends the pull, after few requests."""
    image = registry.add(an_image())
    registry.on(any_request()).status(401)

    pulled = puller.pull(image)

    assert pulled.refused
    assert len(registry.requests()) <= MOST_REQUESTS, "it was asked again and again"


@case("auth/challenge-for-the-manifest-alone", covers="F07")
def late_challenge(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Recorded: whether a registry can be pulled from that answers `/v2/` to anybody."""
    registry.auth = bearer(anonymous=True)
    image = registry.add(an_image())
    registry.on(ping()).bait().status(200)

    pulled = puller.pull(image)

    return observed("pull", pulled.outcome.kind)


@case("auth/password-stays-from-a-plain-http-realm", covers="AUTH-30")
def plain_realm(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """An https registry's challenge can't have the password sent to a plain-http token service."""
    registry.tls = world.certificates.valid()
    realm = world.registry("auth")
    realm.tls = world.lie(
        "the token service speaks plain http",
        None,
        truth=world.certificates.valid(),
        where="answer",
        met=lambda: bool(registry.requests(challenge())),
    )
    registry.auth = bearer(realm=realm.name)
    image = registry.add(an_image())

    pulled = puller.pull(image, auth=registry.auth.credentials)

    assert not realm.saw("password of origin"), "the password went out in the clear"
    assert pulled.refused


@case("auth/storage-that-asks-gets-no-password", covers="H03")
def asking_storage(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A redirect's target that asks for a login isn't given the registry's password."""
    registry.auth = basic()
    cdn = world.registry("cdn")
    image = registry.add(an_image(layers=1))
    registry.given(blob(image.layers[0])).redirect(to=cdn.name)
    cdn.on(redirect_target()).status(401).header("WWW-Authenticate", 'Basic realm="storage"')

    pulled = puller.pull(image, auth=registry.auth.credentials)

    assert not cdn.saw("password of origin"), "the password went to the redirect's target"
    assert pulled.refused


@case("auth/secret-in-no-error", covers=("AUTH-37", "PA-06"))
def no_secret_in_errors(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """`auth` that decodes to no user and password fails the pull, and its content isn't printed."""
    registry.auth = basic()
    right = registry.auth.credentials
    secret = world.secrets.new("colonless secret of origin")
    auth = world.lie(
        "auth has no colon between user and password",
        AuthConfig(auth=base64.b64encode(secret.encode()).decode()),
        truth=AuthConfig(auth=_encoded(right.username, right.password)),
        where="request",
    )
    image = registry.add(an_image())

    pulled = puller.pull(image, auth=auth)

    assert pulled.refused
    assert not pulled.tells(secret), "the secret is in the error"


def _encoded(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()
