"""The honest registry as a function: requests in, replies out."""

import hashlib
import json

import pytest

from fakeregistry.honest.app import App
from fakeregistry.honest.routes import route, valid_name
from fakeregistry.honest.storage import Manifest, Placed, Storage
from fakeregistry.messages import Answer, Reply, Request, header_of

BLOB = bytes(range(200))
OCI = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def storage() -> Storage:
    storage = Storage()
    storage.put_blob("app/web", digest_of(BLOB), BLOB)
    storage.put_blob("app/web", digest_of(b"{}"), b"{}")
    document = json.dumps({"config": {"digest": digest_of(b"{}")}}).encode()
    storage.put_manifest("app/web", Manifest(document, OCI, digest_of(document)), "v1")
    return storage


@pytest.fixture
def app(storage: Storage) -> App:
    return App(storage)


def ask(app: App, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return app.answer(Request(method, target, pairs, body))


def header(answer: Answer, name: str) -> str | None:
    return header_of(answer.reply.headers, name)


def code(answer: Answer) -> str:
    return json.loads(bytes(answer.reply.body))["errors"][0]["code"]


# pull


def test_ping(app) -> None:
    answer = ask(app, "/v2/")
    assert (answer.reply.status, answer.facts.kind) == (200, "ping")
    assert header(answer, "Docker-Distribution-Api-Version") == "registry/2.0"


def test_a_manifest_by_tag_and_by_digest(app, storage) -> None:
    by_tag = ask(app, "/v2/app/web/manifests/v1")
    digest = by_tag.facts.digest
    assert (by_tag.reply.status, by_tag.facts.kind, by_tag.facts.tag) == (200, "tag_manifest", "v1")
    assert header(by_tag, "Content-Type") == OCI
    assert header(by_tag, "Docker-Content-Digest") == digest
    by_digest = ask(app, f"/v2/app/web/manifests/{digest}", "HEAD")
    assert (by_digest.facts.kind, by_digest.facts.digest) == ("manifest", digest)
    assert by_digest.reply.body == by_tag.reply.body


def test_a_blob_and_a_config_are_told_apart(app) -> None:
    answer = ask(app, f"/v2/app/web/blobs/{digest_of(BLOB)}")
    assert (answer.reply.status, answer.reply.body, answer.facts.kind) == (200, BLOB, "blob")
    assert header(answer, "Docker-Content-Digest") == digest_of(BLOB)
    assert ask(app, f"/v2/app/web/blobs/{digest_of(b'{}')}").facts.kind == "config"


@pytest.mark.parametrize(
    ("asked", "status", "claim", "start", "stop"),
    [
        ("bytes=0-0", 206, "bytes 0-0/200", 0, 1),
        ("bytes=150-", 206, "bytes 150-199/200", 150, 200),
        ("bytes=-10", 206, "bytes 190-199/200", 190, 200),
        ("bytes=-999", 206, "bytes 0-199/200", 0, 200),
        ("bytes=10-9999", 206, "bytes 10-199/200", 10, 200),
        ("BYTES=10-19 ", 206, "bytes 10-19/200", 10, 20),
        ("bytes = 10 - 19", 200, None, 0, 200),
        ("bytes=0-1,5-6", 200, None, 0, 200),
        ("bytes=9-1", 200, None, 0, 200),
        ("bytes=-", 200, None, 0, 200),
        ("items=0-1", 200, None, 0, 200),
    ],
)
def test_ranges(app, asked, status, claim, start, stop) -> None:
    answer = ask(app, f"/v2/app/web/blobs/{digest_of(BLOB)}", Range=asked)
    assert answer.reply.status == status
    assert header(answer, "Content-Range") == claim
    assert bytes(answer.reply.body) == BLOB[start:stop]
    assert answer.reply.start == (start if status == 206 else 0)


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=-0"])
def test_a_range_beyond_the_end(app, asked) -> None:
    answer = ask(app, f"/v2/app/web/blobs/{digest_of(BLOB)}", Range=asked)
    assert answer.reply.status == 416
    assert header(answer, "Content-Range") == "bytes */200"


def test_a_range_in_a_head_means_nothing(app) -> None:
    answer = ask(app, f"/v2/app/web/blobs/{digest_of(BLOB)}", "HEAD", Range="bytes=0-1")
    assert answer.reply.status == 200


@pytest.mark.parametrize(
    ("target", "method", "status", "said"),
    [
        ("/v2/app/web/manifests/v9", "GET", 404, "MANIFEST_UNKNOWN"),
        ("/v2/app/none/manifests/v1", "GET", 404, "NAME_UNKNOWN"),
        ("/v2/app/web/blobs/sha256:00", "GET", 404, "BLOB_UNKNOWN"),
        ("/v2/app/none/tags/list", "GET", 404, "NAME_UNKNOWN"),
        ("/v2/App/web/manifests/v1", "GET", 400, "NAME_INVALID"),
        ("/v2/app/web/manifests/v1", "POST", 405, "UNSUPPORTED"),
        ("/v2/app/web/blobs/uploads/none", "GET", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("/v2/app/web/blobs/uploads/none", "PATCH", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("/v2/nothing", "GET", 404, "UNSUPPORTED"),
        ("/elsewhere", "GET", 404, "UNSUPPORTED"),
    ],
)
def test_errors_are_values_in_the_oci_form(app, target, method, status, said) -> None:
    answer = ask(app, target, method)
    assert (answer.reply.status, code(answer)) == (status, said)
    assert header(answer, "Content-Type") == "application/json"


def test_a_repository_holds_only_its_own(app, storage) -> None:
    storage.put_blob("other", digest_of(b"x"), b"x")
    assert ask(app, f"/v2/app/web/blobs/{digest_of(b'x')}").reply.status == 404


def test_tags_come_in_pages(app, storage) -> None:
    manifest = storage.manifest("app/web", "v1")
    for number in range(2, 6):
        storage.put_manifest("app/web", manifest, f"v{number}")
    first = ask(app, "/v2/app/web/tags/list?n=2")
    assert json.loads(first.reply.body) == {"name": "app/web", "tags": ["v1", "v2"]}
    assert header(first, "Link") == '</v2/app/web/tags/list?n=2&last=v2>; rel="next"'
    rest = ask(app, "/v2/app/web/tags/list?n=10&last=v2")
    assert json.loads(rest.reply.body)["tags"] == ["v3", "v4", "v5"]
    assert header(rest, "Link") is None
    assert json.loads(ask(app, "/v2/_catalog").reply.body) == {"repositories": ["app/web"]}


def test_placed_objects_need_nobody(app, storage) -> None:
    storage.place("/storage/1", Placed(BLOB, "x/y", "sha256:1"))
    storage.place("/foreign/a%20b", Placed(b"f", "x/y", "sha256:2", "foreign_url"))
    answer = ask(app, "/storage/1?X-Signature=1", Range="bytes=5-9")
    assert (answer.reply.status, bytes(answer.reply.body)) == (206, BLOB[5:10])
    assert (answer.facts.kind, answer.facts.digest) == ("redirect_target", "sha256:1")
    assert ask(app, "/foreign/a%20b").facts.kind == "foreign_url"
    assert ask(app, "/storage/1", "PUT").reply.status == 405


@pytest.mark.parametrize(
    ("path", "endpoint", "repository", "reference"),
    [
        ("/v2", "ping", "", ""),
        ("/v2/a/b/c/manifests/v1", "manifest", "a/b/c", "v1"),
        ("/v2/manifests/manifests/manifests", "manifest", "manifests", "manifests"),
        ("/v2/a/blobs/uploads/blobs/sha256:0", "blob", "a/blobs/uploads", "sha256:0"),
        ("/v2/a/blobs/uploads/", "uploads", "a", ""),
        ("/v2/a/blobs/uploads", "uploads", "a", ""),
        ("/v2/a/blobs/uploads/7", "upload", "a", "7"),
        ("/v2/a/referrers/sha256:0", "referrers", "a", "sha256:0"),
        ("/token", "token", "", ""),
        ("/v2x", "other", "", ""),
    ],
)
def test_routes(path, endpoint, repository, reference) -> None:
    found = route(path)
    assert (found.endpoint, found.repository, found.reference) == (endpoint, repository, reference)


def test_names() -> None:
    assert all(valid_name(name) for name in ("a", "a/b", "a__b", "a-.-b".replace("-.-", "---")))
    assert not any(valid_name(name) for name in ("A", "a//b", "/a", "a/", "a.-b", "a" * 256))


# push


def test_monolithic_upload_in_one_request(app) -> None:
    target = f"/v2/new/blobs/uploads/?digest={digest_of(b'data')}"
    answer = ask(app, target, "POST", b"data")
    assert (answer.reply.status, answer.facts.kind) == (201, "upload")
    assert header(answer, "Location") == f"/v2/new/blobs/{digest_of(b'data')}"
    assert ask(app, f"/v2/new/blobs/{digest_of(b'data')}").reply.body == b"data"


def test_monolithic_upload_in_two_requests(app) -> None:
    location = header(ask(app, "/v2/new/blobs/uploads/", "POST"), "Location")
    answer = ask(app, f"{location}?digest={digest_of(b'data')}", "PUT", b"data")
    assert answer.reply.status == 201
    assert ask(app, location).reply.status == 404, "a finished upload is gone"


def test_chunks_in_order(app) -> None:
    location = header(ask(app, "/v2/new/blobs/uploads/", "POST"), "Location")
    first = ask(app, location, "PATCH", b"01234", Content_Range="0-4")
    assert (first.reply.status, header(first, "Range")) == (202, "0-4")
    wrong = ask(app, location, "PATCH", b"xyz", Content_Range="9-11")
    assert (wrong.reply.status, header(wrong, "Range")) == (416, "0-4")
    assert ask(app, location, "PATCH", b"xyz", Content_Range="5-5").reply.status == 416
    assert header(ask(app, location), "Range") == "0-4"
    last = ask(
        app, f"{location}?digest={digest_of(b'0123456789')}", "PUT", b"56789", Content_Range="5-9"
    )
    assert last.reply.status == 201


def test_a_wrong_digest_is_refused(app) -> None:
    target = f"/v2/new/blobs/uploads/?digest={digest_of(b'other')}"
    answer = ask(app, target, "POST", b"data")
    assert (answer.reply.status, code(answer)) == (400, "DIGEST_INVALID")
    location = header(ask(app, "/v2/new/blobs/uploads/", "POST"), "Location")
    assert ask(app, location, "PUT", b"data").reply.status == 400
    assert ask(app, location, "DELETE").reply.status == 204


def test_sha512_is_known(app) -> None:
    digest = "sha512:" + hashlib.sha512(b"data").hexdigest()
    target = f"/v2/new/blobs/uploads/?digest={digest}"
    assert ask(app, target, "POST", b"data").reply.status == 201


def test_mount(app) -> None:
    digest = digest_of(BLOB)
    target = f"/v2/new/blobs/uploads/?mount={digest}&from=app/web"
    assert ask(app, target, "POST").reply.status == 201
    assert ask(app, f"/v2/new/blobs/{digest}").reply.body == BLOB
    missing = ask(app, "/v2/new/blobs/uploads/?mount=sha256:00&from=app/web", "POST")
    assert missing.reply.status == 202


def test_manifests_are_kept_byte_for_byte(app) -> None:
    data = b'{"mediaType": "x/y",   "schemaVersion": 2}'
    answer = ask(app, "/v2/new/manifests/v1", "PUT", data, Content_Type="x/z; charset=utf-8")
    assert answer.reply.status == 201
    assert header(answer, "Docker-Content-Digest") == digest_of(data)
    got = ask(app, "/v2/new/manifests/v1")
    assert (got.reply.body, header(got, "Content-Type")) == (data, "x/z")


@pytest.mark.parametrize(
    ("reference", "body", "status", "said"),
    [
        ("v1", b"not json", 400, "MANIFEST_INVALID"),
        ("v1", b"[]", 400, "MANIFEST_INVALID"),
        ("-bad", b"{}", 400, "MANIFEST_INVALID"),
        ("sha256:" + "0" * 64, b"{}", 400, "DIGEST_INVALID"),
        ("v1", b"{" + b" " * (4 << 20) + b"}", 413, "MANIFEST_INVALID"),
    ],
)
def test_bad_manifests_are_refused(app, reference, body, status, said) -> None:
    answer = ask(app, f"/v2/new/manifests/{reference}", "PUT", body)
    assert (answer.reply.status, code(answer)) == (status, said)


def test_referrers(app) -> None:
    subject = digest_of(b"subject")
    for kind in ("a/one", "a/two"):
        data = json.dumps({"artifactType": kind, "subject": {"digest": subject}}).encode()
        pushed = ask(app, f"/v2/new/manifests/{digest_of(data)}", "PUT", data, Content_Type=OCI)
        assert header(pushed, "OCI-Subject") == subject
    answer = ask(app, f"/v2/new/referrers/{subject}")
    assert [m["artifactType"] for m in json.loads(answer.reply.body)["manifests"]] == [
        "a/one",
        "a/two",
    ]
    one = ask(app, f"/v2/new/referrers/{subject}?artifactType=a/two")
    assert len(json.loads(one.reply.body)["manifests"]) == 1
    assert header(one, "OCI-Filters-Applied") == "artifactType"
    none = ask(app, "/v2/new/referrers/sha256:00")
    assert json.loads(none.reply.body)["manifests"] == []


def test_deletes(app, storage) -> None:
    digest = storage.resolve("app/web", "v1")
    assert ask(app, f"/v2/app/web/blobs/{digest_of(BLOB)}", "DELETE").reply.status == 202
    assert ask(app, f"/v2/app/web/blobs/{digest_of(BLOB)}", "DELETE").reply.status == 404
    assert ask(app, "/v2/app/web/manifests/v1", "DELETE").reply.status == 202
    assert ask(app, f"/v2/app/web/manifests/{digest}").reply.status == 200
    assert ask(app, f"/v2/app/web/manifests/{digest}", "DELETE").reply.status == 202
    assert ask(app, f"/v2/app/web/manifests/{digest}").reply.status == 404


def test_a_push_by_digest_can_set_tags(app: App) -> None:
    data = b'{"schemaVersion": 2}'
    target = f"/v2/new/manifests/{digest_of(data)}"

    pushed = ask(app, f"{target}?tag=1.2&tag=latest", "PUT", data, Content_Type=OCI)
    refused = ask(app, f"{target}?tag=-bad", "PUT", data, Content_Type=OCI)

    given = [value for name, value in pushed.reply.headers if name == "OCI-Tag"]
    assert (pushed.reply.status, given) == (201, ["1.2", "latest"])
    assert ask(app, "/v2/new/manifests/latest").reply.body == data
    assert refused.reply.status == 400


def test_a_push_by_tag_sets_no_other(app: App) -> None:
    pushed = ask(app, "/v2/new/manifests/v1?tag=v2", "PUT", b"{}", Content_Type=OCI)

    assert header(pushed, "OCI-Tag") is None
    assert ask(app, "/v2/new/manifests/v2").reply.status == 404


# bounds


def test_pushed_content_has_a_bound_that_deletes_give_back() -> None:
    storage = Storage(limit=10_000)
    app = App(storage)

    def ask(method: str, path: str, body: bytes = b"") -> Reply:
        return app.answer(Request(method, path, (), body)).reply

    def push(data: bytes) -> Reply:
        return ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(data)}", data)

    assert push(b"x" * 6000).status == 201
    assert push(b"x" * 6000).status == 201
    full = push(b"y" * 6000)
    assert (full.status, json.loads(full.body)["errors"][0]["code"]) == (413, "DENIED")
    location = dict(ask("POST", "/v2/a/blobs/uploads/").headers)["Location"]
    assert ask("PATCH", location, b"z" * 6000).status == 413
    assert ask("PATCH", location, b"z" * 100).status == 202
    assert ask("PUT", "/v2/a/manifests/v1", json.dumps({"x": "y" * 6000}).encode()).status == 413
    assert ask("DELETE", location).status == 204
    assert ask("DELETE", f"/v2/a/blobs/{digest_of(b'x' * 6000)}").status == 202
    assert storage.pushed.used == 0
    assert storage.find(digest_of(b"x" * 6000)) is None
    assert push(b"y" * 6000).status == 201
    storage.clear()
    assert storage.pushed.used == 0


def test_uploads_that_never_end_are_bounded() -> None:
    app = App(Storage(limit=10_000))
    statuses = [app.answer(Request("POST", "/v2/a/blobs/uploads/")).reply.status for _ in range(20)]
    assert set(statuses) == {202, 413}


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("PUT", "/v2/a/manifests/v1", (), b"[" * 100_000, 400),
        ("PUT", "/v2/a/manifests/v1", (), b'{"a":' * 100_000, 400),
        ("PUT", "/v2/a/manifests/v1", (), b"1" * 10_000, 400),
        ("PATCH", "/v2/a/blobs/uploads/1", (("Content-Range", f"{'9' * 5000}-1"),), b"x", 416),
        ("GET", "/v2/app/web/tags/list?n=%C2%B2", (), b"", 200),
        ("GET", f"/v2/app/web/tags/list?n={'9' * 5000}", (), b"", 200),
    ],
)
def test_numbers_and_nesting_beyond_reason(app, method, path, headers, body, status) -> None:
    assert app.answer(Request(method, path, headers, body)).reply.status == status
