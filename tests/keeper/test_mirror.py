"""What netlink says becomes what the mirror answers: messages as a kernel with VLANs, bonds and teams sends them, which
that of the tests may not have."""

from __future__ import annotations

from typing import Any

import pytest

from byway.engine.routes import Adapter, Answer, Routes
from byway.keeper.mirror import Dump, Mirror, Tables

UP = 0x1 | 0x40
ETH, OTHER, BOND, VLAN, INNER, TEAM, BRIDGE, DOWN = range(2, 10)
MACS = {index: f"02:00:00:00:00:{index:02x}" for index in range(2, 10)}


def link(
    index: int, kind: str | None = None, *, flags: int = UP, data: dict[str, Any] | None = None, **more: Any
) -> Any:
    """RTM_NEWLINK."""
    attrs = [("IFLA_IFNAME", f"link{index}"), ("IFLA_MTU", 1500), ("IFLA_ADDRESS", MACS[index]), *more.items()]
    if kind:
        info = [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": list((data or {}).items())})]
        attrs.append(("IFLA_LINKINFO", {"attrs": info}))
    return {"index": index, "flags": flags, "attrs": attrs}


LINKS = [
    link(ETH, IFLA_MASTER=BOND),
    link(OTHER, IFLA_MASTER=BOND),
    link(BOND, "bond", data={"IFLA_BOND_ACTIVE_SLAVE": OTHER}),
    link(VLAN, "vlan", data={"IFLA_VLAN_ID": 10}, IFLA_LINK=BOND),
    link(INNER, "vlan", data={"IFLA_VLAN_ID": 20}, IFLA_LINK=VLAN),
    link(TEAM, "team"),
    link(BRIDGE, "bridge"),
    link(DOWN, flags=0x1),
]


def answering(tables: Tables) -> Routes:
    mirror = Mirror()
    mirror.write(tables)
    return Routes(mirror.fd)


def mac(index: int) -> bytes:
    return bytes.fromhex(MACS[index].replace(":", ""))


@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        (ETH, Adapter(ETH, (), mac(ETH))),
        (BOND, Adapter(OTHER, (), mac(BOND))),
        (VLAN, Adapter(OTHER, (10,), mac(VLAN))),
        (INNER, Adapter(OTHER, (10, 20), mac(INNER))),
        (TEAM, None),
        (BRIDGE, None),
        (DOWN, None),
        (99, None),
    ],
)
def test_what_a_link_comes_down_to(index: int, wanted: Adapter | None) -> None:
    assert answering(Dump(LINKS, [], [], [], []).tables()).adapter(index) == wanted


def test_a_bond_that_fails_over() -> None:
    others = [one for one in LINKS if one["index"] != BOND]
    now = link(BOND, "bond", data={"IFLA_BOND_ACTIVE_SLAVE": ETH})
    assert answering(Dump([*others, now], [], [], [], []).tables()).adapter(VLAN) == Adapter(ETH, (10,), mac(VLAN))
    nobody = link(BOND, "bond", data={})
    assert answering(Dump([*others, nobody], [], [], [], []).tables()).adapter(VLAN) is None


def test_links_that_lie_on_each_other_end() -> None:
    """Nonsense, which no kernel sends, and a process that reads while somebody writes may see."""
    round_and_round = [
        link(VLAN, "vlan", data={"IFLA_VLAN_ID": 1}, IFLA_LINK=INNER),
        link(INNER, "vlan", data={"IFLA_VLAN_ID": 2}, IFLA_LINK=VLAN),
    ]
    assert answering(Dump(round_and_round, [], [], [], []).tables()).adapter(VLAN) is None


def test_what_does_not_fit_is_not_believed() -> None:
    rule = {"from": [0] * 16, "to": [0] * 16, "family": 6, "suppress_prefix": -1, "table": 254}
    assert answering(Tables(rules=[rule])).find("fd00::1").answer is Answer.NO_WAY
    assert answering(Tables(rules=[rule], links=[{"index": i} for i in range(300)])).find("fd00::1").answer is (
        Answer.ASK_KERNEL
    )


def test_a_writer_that_died_is_not_believed() -> None:
    mirror = Mirror()
    mirror.write(Dump(LINKS, [], [], [], []).tables())
    routes = Routes(mirror.fd)
    assert routes.adapter(ETH)
    mirror._put_sequence()  # it is odd now
    assert routes.adapter(ETH) is None
    assert routes.find("10.0.0.1").answer is Answer.ASK_KERNEL
