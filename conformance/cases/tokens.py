"""Tokens: how a token service is asked, and which of its answers are one."""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl

from conformance.case import Observed, case, observed
from conformance.contract import AuthConfig
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import Exchange, an_image, basic, bearer, blob, token

SIGN_IN_PAGE = "<!doctype html><title>Sign in</title><form method=post action=/login></form>"


def _scopes(exchange: Exchange) -> set[str]:
    """What a token request asks for, by GET or by POST."""
    fields = parse_qsl(exchange.query) + parse_qsl(exchange.form or "")
    return {scope for name, value in fields if name == "scope" for scope in value.split()}


@case("tokens/token-field-alone", covers="AUTH-08")
def token_field(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A token that the answer has under `token` alone is used."""
    field = world.lie("the answer has `token` alone", "token", truth="both", where="answer")
    registry.auth = bearer(anonymous=True, token_field=field)
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("tokens/access-token-field-alone", covers="AUTH-08")
def access_token_field(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A token that the answer has under `access_token` alone is used."""
    field = world.lie(
        "the answer has `access_token` alone", "access_token", truth="both", where="answer"
    )
    registry.auth = bearer(anonymous=True, token_field=field)
    image = registry.add(an_image())

    assert puller.pull(image).succeeded


@case("tokens/fields-that-differ", covers="AUTH-08b")
def differing_fields(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Recorded: which of `token` and `access_token` is used where they differ."""
    other = world.lie(
        "`access_token` is another text", {"access_token": "spoilt"}, truth={}, where="answer"
    )
    registry.auth = bearer(anonymous=True, extra=other)
    image = registry.add(an_image())

    pulled = puller.pull(image)

    return observed("used", "token" if pulled.succeeded else "access_token")


@case("tokens/answer-without-token-is-refused", covers="AUTH-10")
def no_token(registry: WorldRegistry, puller: CasePuller) -> None:
    """A token answer in which no token is ends the pull."""
    registry.auth = bearer(anonymous=True)
    image = registry.add(an_image())
    registry.on(token()).body('{"expires_in": 300}')

    assert puller.pull(image).refused


@case("tokens/html-answer-is-refused", covers="AUTH-10")
def html_answer(registry: WorldRegistry, puller: CasePuller) -> None:
    """A sign-in page in the place of a token answer ends the pull."""
    registry.auth = bearer(anonymous=True)
    image = registry.add(an_image())
    registry.on(token()).body(SIGN_IN_PAGE, content_type="text/html")

    assert puller.pull(image).refused


@case("tokens/server-error-is-refused", covers="AUTH-11")
def server_error(registry: WorldRegistry, puller: CasePuller) -> None:
    """A token service that always answers 503 ends the pull, and the error says so."""
    registry.auth = bearer(anonymous=True)
    image = registry.add(an_image())
    registry.on(token()).status(503)

    pulled = puller.pull(image)

    assert pulled.refused
    assert pulled.says("503", "service unavailable")


@case("tokens/post-404-falls-back-to-get", covers="AUTH-05")
def post_not_found(registry: WorldRegistry, puller: CasePuller) -> None:
    """A token service that knows no POST (404) is asked by GET."""
    registry.auth = bearer()
    image = registry.add(an_image())
    registry.on(token(), method="POST").bait().status(404)

    assert puller.pull(image, auth=registry.auth.credentials).succeeded


@case("tokens/post-405-falls-back-to-get", covers="AUTH-05b")
def post_not_allowed(registry: WorldRegistry, puller: CasePuller) -> None:
    """A token service that refuses POST with 405 is asked by GET."""
    registry.auth = bearer()
    image = registry.add(an_image())
    registry.on(token(), method="POST").bait().status(405)

    assert puller.pull(image, auth=registry.auth.credentials).succeeded


@case("tokens/expired-token-is-replaced", covers="AUTH-23")
def expired(registry: WorldRegistry, puller: CasePuller) -> None:
    """A token that is refused with `invalid_token` in mid-pull is replaced by a new one."""
    registry.auth = bearer(anonymous=True)
    image = registry.add(an_image(layers=1))
    stale: list[str] = []

    def is_the_first(value: str) -> bool:
        stale.append(value)
        return value == stale[0]

    answer = f'Bearer realm="{registry.auth.realm}",service="{registry.auth.service}",'
    answer += 'scope="repository:app/web:pull",error="invalid_token"'
    rule = registry.on(blob(image.layers[0]), header={"authorization": is_the_first})
    rule.status(401).header("WWW-Authenticate", answer)

    assert puller.pull(image).succeeded


@case("tokens/scope-is-this-repository", covers="AUTH-02")
def own_scope(registry: WorldRegistry, puller: CasePuller) -> None:
    """A token is asked for pulling this repository, and for nothing beyond it."""
    registry.auth = bearer(anonymous=True)
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.succeeded
    asked = set().union(*map(_scopes, registry.requests(token())))
    assert asked == {"repository:app/web:pull"}, f"asked for {sorted(asked)}"


@case("tokens/second-scope-of-the-challenge", covers="AUTH-12")
def second_scope(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Recorded: whether a second scope in the challenge is asked for as well."""
    text = world.lie(
        "the challenge has a second scope",
        'Bearer realm="{realm}",service="{service}",scope="{scope} repository:app/base:pull"',
        truth=None,
        where="answer",
    )
    registry.auth = bearer(anonymous=True, challenge=text)
    image = registry.add(an_image())

    puller.pull(image)

    asked = set().union(*map(_scopes, registry.requests(token())))
    return observed("second scope", "asked" if "repository:app/base:pull" in asked else "left out")


@case("tokens/identity-token-is-exchanged", covers="PA-04")
def identity_token(registry: WorldRegistry, puller: CasePuller) -> None:
    """An identity token is exchanged for an access token, as a refresh token by OAuth2."""
    registry.auth = bearer()
    image = registry.add(an_image())
    auth = AuthConfig(identity_token=registry.auth.identity_token)

    assert puller.pull(image, auth=auth).succeeded


@case("tokens/auth-field-is-decoded", covers="PA-05")
def auth_field(registry: WorldRegistry, puller: CasePuller) -> None:
    """`auth` is base64 of user and password, with a colon between them."""
    registry.auth = basic()
    image = registry.add(an_image())
    known = registry.auth.credentials
    pair = f"{known.username}:{known.password}".encode()

    assert puller.pull(image, auth=AuthConfig(auth=base64.b64encode(pair).decode())).succeeded


@case("tokens/credentials-of-another-host-stay-unused", covers="PA-08")
def other_host(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Credentials whose server address names another host aren't shown to this one."""
    registry.auth = basic()
    image = registry.add(an_image())
    known = registry.auth.credentials
    address = world.lie(
        "the credentials are for another host",
        "https://elsewhere.test",
        truth=registry.base_url,
        where="request",
    )

    pulled = puller.pull(image, auth=AuthConfig(known.username, known.password, None, address))

    assert pulled.refused
    assert not registry.saw("password of origin")
