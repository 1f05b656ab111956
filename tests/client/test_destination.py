"""Where requests go is said before they do, and some places are refused."""

from __future__ import annotations

import pytest

from bulkedit.client.destination import (
    Destination,
    Identity,
    check_endpoint,
    is_aws,
    is_default,
    is_loopback,
    principal,
    require_consent,
    source_of,
    without_password,
)
from bulkedit.errors import UsageError

REGION = "us-east-1"


@pytest.mark.parametrize(
    "host",
    [
        "medical-imaging.us-east-1.amazonaws.com",
        "runtime-medical-imaging.us-east-1.amazonaws.com",
        "dicom-medical-imaging.us-east-1.amazonaws.com",
        "medical-imaging-fips.us-gov-west-1.amazonaws.com",
        "medical-imaging.us-east-1.api.aws",
        "medical-imaging.cn-north-1.amazonaws.com.cn",
        "vpce-0a1b2c-x.medical-imaging.us-east-1.vpce.amazonaws.com",
        "vpce-0a1b2c-x.runtime-medical-imaging.us-east-1.vpce.amazonaws.com",
        "MEDICAL-IMAGING.us-east-1.AMAZONAWS.com",
    ],
)
def test_the_services_own_hosts_are_aws_over_tls_only(host: str) -> None:
    assert is_aws(f"https://{host}")
    assert is_aws(f"https://{host}:443/")
    assert not is_aws(f"http://{host}")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://medical-imaging.us-east-1.amazonaws.com.example.org",
        "https://medical-imaging.us-east-1.amazonaws.com@example.org",
        "https://example.org/medical-imaging.us-east-1.amazonaws.com",
        "https://example.org#medical-imaging.us-east-1.amazonaws.com",
        # below amazonaws.com, and anyone's
        "https://medical-imaging.s3.amazonaws.com.evil.s3.us-east-1.amazonaws.com",
        "https://bucket.s3.us-east-1.amazonaws.com",
        "https://abc.execute-api.us-east-1.amazonaws.com",
        "https://ec2-1-2-3-4.compute-1.amazonaws.com",
        "https://medical-imaging.us-east-1.elb.amazonaws.com",
        "https://xmedical-imaging.us-east-1.amazonaws.com",
    ],
)
def test_other_hosts_are_not(url: str) -> None:
    assert not is_aws(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "runtime-x.localhost", "[::1]"])
def test_this_machine(host: str) -> None:
    assert is_loopback(f"http://{host}:8104")


@pytest.mark.parametrize("host", ["10.0.0.5", "127.0.0.1.example.org", "localhost.example.org", "[::2]", "0.0.0.1"])
def test_another_machine(host: str) -> None:
    url = f"http://{host}:8104"
    assert not is_loopback(url)
    with pytest.raises(UsageError, match="another machine, and http is not encrypted") as caught:
        check_endpoint(url, None, allow_http=False)
    assert "`allow_http=True`" in str(caught.value)
    check_endpoint(url, None, allow_http=True)
    check_endpoint(url.replace("http:", "https:"), None, allow_http=False)


@pytest.mark.parametrize("user", ["name:SECRET@", "SECRET@", ":SECRET@"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_url_with_a_password_is_refused_and_not_repeated(user: str, scheme: str) -> None:
    url = f"{scheme}://{user}127.0.0.1:8104/x"
    with pytest.raises(UsageError, match="user name or a password") as caught:
        check_endpoint(url, None, allow_http=True)
    assert "SECRET" not in str(caught.value)
    assert without_password(url) == f"{scheme}://127.0.0.1:8104/x"


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host", "http://", "http://a b", "http://h:0", "http://h:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="profile p: the endpoint is not a valid URL"):
        check_endpoint(url, "profile p", allow_http=True)


def test_the_source_is_named_in_the_sdks_order() -> None:
    of_service, of_all = "AWS_ENDPOINT_URL_MEDICAL_IMAGING", "AWS_ENDPOINT_URL"
    assert source_of("--endpoint-url", "p", {of_service: "x"}) == "--endpoint-url"
    assert source_of(None, "p", {of_service: "x", of_all: "y"}) == f"the environment variable {of_service}"
    assert source_of(None, "p", {of_all: "y"}) == f"the environment variable {of_all}"
    assert source_of(None, "p", {}) == "profile p of ~/.aws/config"


def test_the_public_endpoint_of_the_region_needs_no_source() -> None:
    assert is_default("https://medical-imaging.us-east-1.amazonaws.com", REGION)
    assert not is_default("https://medical-imaging.eu-west-1.amazonaws.com", REGION)
    assert not is_default("https://vpce-1.medical-imaging.us-east-1.vpce.amazonaws.com", REGION)
    assert not is_default("http://127.0.0.1", REGION)


@pytest.mark.parametrize(
    ("arn", "shown"),
    [
        ("arn:aws:sts::111122223333:assumed-role/Editor/ada@hospital", "role Editor"),
        ("arn:aws:iam::111122223333:user/teams/ada", "user teams/ada"),
        ("arn:aws:iam::111122223333:root", "root"),
    ],
)
def test_a_principal_is_named(arn: str, shown: str) -> None:
    assert principal(arn) == shown


def test_a_destination_in_words() -> None:
    aws = "https://medical-imaging.us-east-1.amazonaws.com"
    of = Destination(endpoint_url=aws, region=REGION, identity=Identity("111122223333", "role Editor"))
    assert str(of) == f"account 111122223333 as role Editor, region us-east-1, endpoint {aws}"
    assert str(Destination(endpoint_url=aws, region=REGION)).startswith("account not known, ")
    local = Destination(endpoint_url="http://127.0.0.1:1", region=REGION, source="--endpoint-url")
    assert str(local) == "region us-east-1, endpoint http://127.0.0.1:1 (from --endpoint-url), which is not AWS"


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1", "https://medical-imaging.us-east-1.amazonaws.com"])
def test_aws_and_this_machine_need_no_consent(url: str | None) -> None:
    require_consent(url, "r")


@pytest.mark.parametrize("url", ["https://u:SECRET@example.org/x", "http://10.0.0.1", "http://medical-imaging.x"])
def test_an_endpoint_of_a_run_that_is_neither_is_asked_for(url: str) -> None:
    with pytest.raises(UsageError, match="neither AWS nor this machine") as caught:
        require_consent(url, "r")
    assert "SECRET" not in str(caught.value)
    assert "`endpoint_url=" in str(caught.value)
