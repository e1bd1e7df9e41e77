"""Which addresses may be called: public ones, in whatever form they are written."""

import pytest

from worker.core.addresses import networks, refusal


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_may_be_called(address):
    assert refusal(address) is None


@pytest.mark.parametrize(
    ("why", "address"),
    [
        ("this machine", "127.0.0.1"),
        ("this machine", "127.255.255.254"),
        ("this machine", "::1"),
        ("this machine", "::ffff:127.0.0.1"),
        ("this machine", "::127.0.0.1"),
        ("this machine", "64:ff9b::7f00:1"),
        ("this machine", "2002:7f00:1::"),
        ("credentials", "169.254.169.254"),
        ("credentials", "::ffff:169.254.169.254"),
        ("credentials", "64:ff9b::a9fe:a9fe"),
        ("credentials", "fd00:ec2::254"),
        ("credentials", "168.63.129.16"),
        ("credentials", "100.100.100.200"),
        ("link-local", "169.254.1.1"),
        ("link-local", "fe80::1"),
        ("link-local", "fe80::1%eth0"),
        ("private", "10.1.2.3"),
        ("private", "172.16.0.1"),
        ("private", "192.168.1.1"),
        ("private", "fd12::1"),
        ("private", "2002:a01:203::"),
        ("private", "64:ff9b:1::a01:203"),
        ("no public", "100.64.0.1"),
        ("no address", "0.0.0.0"),
        ("no address", "::"),
        ("multicast", "224.0.0.1"),
        ("multicast", "ff02::1"),
        ("", "255.255.255.255"),
        ("", "240.0.0.1"),
        ("", "192.0.2.1"),
        ("", "198.18.0.1"),
        ("", "2001:db8::1"),
        ("", "fec0::1"),
        ("", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    ],
)
def test_any_other_is_refused_in_words_that_name_it(why, address):
    told = refusal(address)
    assert told is not None
    assert told.startswith(address)
    assert why in told


def test_a_network_that_is_listed_may_be_called_and_no_other():
    allowed = networks(["10.1.0.0/16", "fd12::/16", "127.0.0.1"])
    assert [refusal(a, allowed) for a in ("10.1.2.3", "fd12::7", "127.0.0.1", "::ffff:10.1.2.3")] == [None] * 4
    assert None not in [refusal(a, allowed) for a in ("10.2.0.1", "fd13::7", "127.0.0.2", "169.254.169.254")]
