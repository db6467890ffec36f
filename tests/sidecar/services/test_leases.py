"""Leases: reserved, granted, attached, ended; here, in residency and in the catalog."""

import threading

import pytest

from alluxio_lance.errors import NotFound, PermissionDenied, Unavailable
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.sidecar.leftovers import leftovers


def test_the_catalog_knows_of_a_lease_before_its_data_are_there(house):
    """A version that is being loaded for somebody cannot be deleted meanwhile."""
    peer = house.peer()
    token = house.leases.reserve(peer, house.version())
    holder = house.records.held[token]
    assert (holder.type, holder.name, holder.semver, holder.node) == ("datasets", "a", "1.0.0", "here")
    assert (holder.pid, holder.user, holder.command) == (peer.pid, peer.user, peer.command)
    with pytest.raises(NotFound):
        house.leases.attach(token, 1, peer)
    house.leases.cancel(token)
    house.leases.cancel(token)
    house.leases.settle()
    assert house.records.held == {}


def test_a_version_that_the_catalog_does_not_let_hold_gives_no_lease(house):
    """Nothing is left behind here."""
    house.records.failure = NotFound("it is being deleted")
    with pytest.raises(NotFound, match="being deleted"):
        house.leases.reserve(house.peer(), house.version())
    assert house.leases.current() == ()


def test_a_lease_that_nobody_attaches_ends_after_30_seconds(house):
    """Not a moment before; a renewal gives another 30."""
    token, hold = house.lease()
    house.clock.now = 29.9
    house.leases.expire()
    assert not hold.released.is_set()
    house.leases.renew(token, house.peer())
    house.clock.now = 59.8
    house.leases.expire()
    assert not hold.released.is_set()
    house.clock.now = 59.9
    house.leases.expire()
    assert hold.released.is_set()
    with pytest.raises(NotFound, match="open the version again"):
        house.leases.renew(token, house.peer())


def test_an_attached_lease_does_not_expire(house):
    """Its connections hold it, however long; a renewal changes nothing."""
    token, hold = house.lease()
    house.leases.attach(token, 7, house.peer()).sent()
    house.leases.renew(token, house.peer())
    house.clock.now = 1e6
    house.leases.expire()
    assert not hold.released.is_set()
    house.leases.disconnect(7)
    assert hold.released.is_set()


def test_the_keeper_ends_late_leases_by_itself(house):
    """Without anybody's call."""
    _, hold = house.lease()
    house.clock.now = 31.0
    assert hold.released.wait(5)
    assert house.records.wait(lambda records: not records.held)


def test_ending_a_lease_early_reaches_the_catalog_before_it_returns(house):
    """A deletion right after it finds no holder."""
    token, hold = house.lease()
    house.leases.end(token, house.peer())
    assert hold.released.is_set()
    assert house.records.held == {}
    with pytest.raises(NotFound):
        house.leases.end(token, house.peer())


def test_segments_stay_until_their_descriptors_are_sent(house):
    """A lease that ends while the door sends keeps its memfds open until then: their numbers are not reused."""
    token, hold = house.lease()
    attachment = house.leases.attach(token, 7, house.peer())
    house.leases.end(token, house.peer())
    assert not hold.released.is_set()
    attachment.sent()
    assert hold.released.is_set()


def test_segments_that_come_for_an_ended_lease_are_let_go(house):
    """The reader went away while its version was loaded."""
    token = house.leases.reserve(house.peer(), house.version())
    house.leases.cancel(token)
    hold = house.segments()
    with pytest.raises(NotFound):
        house.leases.grant(token, hold)
    assert hold.released.is_set()


def test_only_the_opener_s_user_and_root_may_end_a_lease(house):
    """Another user is told to open the version itself."""
    token, _ = house.lease()
    eve = type(house.peer())(session="", pid=1, uid=12345, user="eve", command="")
    for verb in (house.leases.end, house.leases.renew):
        with pytest.raises(PermissionDenied):
            verb(token, eve)


def test_leases_are_renewed_in_the_catalog(open_house):
    """Every third of their time to live, also after the catalog failed once."""
    with open_house(ttl=0.3) as house:
        house.lease()
        house.clock.now = 0.15
        assert house.records.wait(lambda records: records.renewed == 1)
        house.records.failure = Unavailable("the catalog does not answer", what="catalog")
        house.clock.now = 0.3
        assert house.records.wait(lambda records: records.renewed == 2)
        house.records.failure = None
        house.clock.now = 0.41
        assert house.records.wait(lambda records: records.renewed == 3)


def test_leases_that_expired_while_the_sidecar_stood_still_are_recorded_anew(open_house):
    """It was stopped for longer than they live, and the catalog forgot them; one whose version is gone is let be."""
    with open_house(ttl=0.3) as house:
        token, _ = house.lease()
        house.leases.attach(token, 7, house.peer()).sent()
        house.records.held.clear()
        house.clock.now = 1.0
        assert house.records.wait(lambda records: token in records.held)
        house.records.held.clear()
        house.records.failure = NotFound("it is being deleted")
        house.clock.now = 2.0
        assert house.records.wait(lambda records: records.refused)
        house.records.failure = None
        house.clock.now = 2.2
        assert house.records.wait(lambda records: records.renewed == 1)
        assert house.leases.current()


def test_leases_that_expired_while_the_catalog_was_away_are_recorded_anew(open_house):
    """It is tried until it succeeds with all of them; then they are renewed again."""
    with open_house(ttl=0.3) as house:
        tokens = {house.lease()[0] for _ in range(2)}
        house.records.failure = Unavailable("the catalog does not answer", what="catalog")
        house.clock.now = 0.15
        assert house.records.wait(lambda records: records.renewed == 1)
        house.records.held.clear()
        for tries, now in enumerate((0.4, 0.6), start=1):
            house.clock.now = now
            assert house.records.wait(lambda records, tries=tries: records.refused == tries)
        one_only = iter([None, house.records.failure, None])
        hold = house.records.hold

        def hold_one(holder, ttl):
            house.records.failure = next(one_only, None)
            hold(holder, ttl)

        house.records.hold = hold_one
        house.clock.now = 0.8
        assert house.records.wait(lambda records: records.refused == 3)
        assert len(house.records.held) == 1
        house.clock.now = 1.0
        assert house.records.wait(lambda records: set(records.held) == tokens)
        house.clock.now = 1.2
        assert house.records.wait(lambda records: records.renewed == 2)


def test_leases_whose_renewal_took_longer_than_they_live_are_recorded_anew(open_house):
    """The catalog answered when it had forgotten them, and says nothing of that."""
    with open_house(ttl=0.3) as house:
        token, _ = house.lease()
        renew = house.records.renew

        def slowly(ids, ttl):
            house.clock.now = 0.4
            house.records.held.clear()
            renew(ids, ttl)

        house.records.renew = slowly
        house.clock.now = 0.2
        assert house.records.wait(lambda records: token in records.held and records.renewed == 1)


def test_after_the_end_there_are_no_new_leases(house):
    """The sidecar stops; the reader is told to come again."""
    house.leases.close()
    with pytest.raises(Unavailable, match="shutting down"):
        house.leases.reserve(house.peer(), house.version())


def test_an_end_that_the_catalog_does_not_hear_of_is_an_end_all_the_same(house):
    """It expires there."""
    token, hold = house.lease()
    house.records.failure = Unavailable("the catalog does not answer", what="catalog")
    house.leases.end(token, house.peer())
    assert hold.released.is_set()
    house.records.failure = None


def test_closing_ends_all_leases_everywhere(open_house):
    """Residency and catalog are told; closing again does nothing."""
    with open_house() as house:
        _, one = house.lease()
        token, two = house.lease()
        house.leases.attach(token, 7, house.peer()).sent()
        house.leases.close()
        assert one.released.is_set()
        assert two.released.is_set()
        assert house.records.held == {}
        house.leases.close()


def test_no_thread_of_the_keeper_stays(open_house):
    """The keeper ends with the leases."""
    with open_house():
        assert any(thread.name == "leases" for thread in threading.enumerate())
    assert not any(thread.name == "leases" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("node", "token", "pid", "left"),
    [
        ("here", "0" * 24 + "abababab", 1, True),
        ("here", "0" * 24 + "abababab", 2, False),
        ("here", "0" * 24 + "cdcdcdcd", 1, False),
        ("there", "0" * 24 + "abababab", 1, False),
    ],
    ids=["dead reader of the instance", "living reader", "another instance", "another node"],
)
def test_leftovers_are_what_dead_readers_of_the_last_instance_held(house, node, token, pid, left):
    """All others expire by themselves."""
    holder = Holder(
        id=token,
        type="datasets",
        name="a",
        semver="1.0.0",
        node=node,
        pid=pid,
        user="me",
        command="python",
        since=house.version().created_at,
    )
    found = leftovers([holder], node="here", instance="ab" * 16, alive=lambda pid: pid == 2)
    assert found == ([token] if left else [])


def test_a_lease_whose_opener_dies_before_it_attached_ends_at_once(house):
    """One that somebody else has attached meanwhile stays; so does one that another session opened."""
    with house.raw() as connection:
        session = house.ask(connection, {"op": "hello", "protocol": 1})["session"]
        opener = house.peers.find(session)
        tokens = [house.leases.reserve(opener, house.version()) for _ in range(3)]
        lost, taken = house.segments(), house.segments()
        house.leases.grant(tokens[0], lost)
        house.leases.grant(tokens[1], taken)
        house.leases.attach(tokens[1], 99, house.peer()).sent()
        foreign, foreign_hold = house.lease()
    house.door.settle()
    house.leases.settle()
    assert lost.released.is_set()
    assert set(house.records.held) == {tokens[1], foreign}
    # The third was still being loaded: what comes of it is let go.
    late = house.segments()
    with pytest.raises(NotFound):
        house.leases.grant(tokens[2], late)
    assert late.released.is_set()
    house.leases.disconnect(99)
    assert taken.released.is_set()
    assert not foreign_hold.released.is_set()
