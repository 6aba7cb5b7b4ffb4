"""Which addresses are public, whatever this version of Python makes of them."""

from __future__ import annotations

from understudy.services.queue.addresses import is_public, is_within

NOT_PUBLIC = """
    0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254 172.16.0.1
    172.31.255.255 192.0.0.9 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1
    203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::1.1.1.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 ::ffff:0:1.1.1.1
    64:ff9b::7f00:1 64:ff9b::192.0.0.192 64:ff9b:1:: 64:ff9b:1::7f00:1 64:ff9b:1::101:101 64:ff9b:2::1
    100::1 100:0:0:1::1 fc00::1 fd00:ec2::254 fe80::1 febf::1 fec0::1 feff::1 ff02::1 ffff::1
    2001::1 2001:0:101:101:: 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:101:101:: 3ffe::1 3fff::1
    5f00::1 4000::1 2606:4700::5efe:7f00:1 2606:4700::200:5efe:a00:1
"""
PUBLIC = """
    1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 172.15.255.255
    172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
    ::ffff:1.1.1.1 64:ff9b::101:101 2001:200::1 2606:4700:4700::1111 2a00:1450::1 3ffd::1
"""


def test_what_is_public():
    assert [address for address in NOT_PUBLIC.split() if is_public(address)] == []
    assert [address for address in PUBLIC.split() if not is_public(address)] == []


def test_within_networks():
    assert is_within("10.1.2.3", ("192.168.0.0/16", "10.0.0.0/8"))
    assert is_within("::ffff:10.1.2.3", ("10.0.0.0/8",))
    assert is_within("64:ff9b:1::7f00:1", ("64:ff9b:1::/48",))
    assert not is_within("64:ff9b:1::a00:1", ("10.0.0.0/8",))
    assert not is_within("10.1.2.3", ())
