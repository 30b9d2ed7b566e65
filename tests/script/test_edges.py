"""Every edge of RFC 9293's diagram of states (3.3.2, figure 5) is taken by some scenario."""

from __future__ import annotations

from tests.script.language import Line
from tests.script.runner import Runner
from tests.script.test_scripts import SCENARIOS

DIAGRAM = """
    CLOSED LISTEN              passive OPEN
    CLOSED SYN_SENT            active OPEN
    LISTEN CLOSED              CLOSE
    SYN_SENT CLOSED            CLOSE, and a reset
    SYN_SENT SYN_RECEIVED      rcv SYN
    SYN_SENT ESTABLISHED       rcv SYN,ACK
    SYN_RECEIVED ESTABLISHED   rcv ACK of SYN
    SYN_RECEIVED FIN_WAIT_1    CLOSE
    ESTABLISHED FIN_WAIT_1     CLOSE
    ESTABLISHED CLOSE_WAIT     rcv FIN
    FIN_WAIT_1 FIN_WAIT_2      rcv ACK of FIN
    FIN_WAIT_1 CLOSING         rcv FIN
    FIN_WAIT_1 TIME_WAIT       rcv FIN, ACK of FIN
    FIN_WAIT_2 TIME_WAIT       rcv FIN
    CLOSING TIME_WAIT          rcv ACK of FIN
    CLOSE_WAIT LAST_ACK        CLOSE
    LAST_ACK CLOSED            rcv ACK of FIN
    TIME_WAIT CLOSED           timeout
    CLOSED SYN_RECEIVED        rcv SYN in LISTEN: a child, while the listener stays
    SYN_RECEIVED CLOSED        rcv RST: back to LISTEN, that is, the child is gone
"""
# LISTEN to SYN_SENT, by SEND, is not there: send(2) on a listener is an error.
EDGES = {tuple(line.split()[:2]) for line in DIAGRAM.splitlines() if line.strip()}
NOT_YET = GONE = "CLOSED"


class Tracing(Runner):
    """Notes from which state each socket goes to which."""

    def do(self, line: Line) -> None:
        before = self.stack.states()
        super().do(line)
        after = self.stack.states()
        for number in before.keys() | after.keys():
            edge = (before.get(number, NOT_YET), after.get(number, GONE))
            if edge[0] != edge[1]:
                self.edges.add(edge)

    edges: set[tuple[str, str]]


def test_every_edge_is_taken() -> None:
    taken: set[tuple[str, str]] = set()
    for scenario in SCENARIOS:
        runner = Tracing(scenario, scenario.only or "ipv4")
        runner.edges = taken
        runner.run()
    assert not EDGES - taken
