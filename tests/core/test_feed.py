"""How far a feed has been read: a place that survives a restart, a watermark by the upstream's time, and what a pass has cost (B2)."""

import orjson

from worker.core.feed import DAY, OVERLAP, Feed

NOW = 1_700_000_000.0


def through(feed, *pages, date=NOW, now=NOW, dice=0.5):
    """The feed after a pass whose pages' rows changed at these times."""
    way = feed.begin(now)
    for n, modified in enumerate(pages, 1):
        way = way.on(None if n == len(pages) else str(n), modified, 0, 0)
    return feed.over(way, date, now, dice)


def test_the_watermark_is_the_newest_change_that_was_read_and_never_in_the_overlap():
    assert through(Feed(), [NOW - 900], [NOW - 600, None]).watermark == NOW - 600
    assert through(Feed(), [NOW - 1]).watermark == NOW - OVERLAP
    assert through(Feed(), [NOW + 500], date=NOW - 100).watermark == NOW - 100 - OVERLAP


def test_the_watermark_never_goes_back():
    assert through(Feed(watermark=NOW - 700), []).watermark == NOW - 700


def test_once_a_day_at_no_fixed_hour_a_pass_is_over_all_there_is():
    feed = through(Feed(), [NOW - 900], [NOW - 600])
    assert (feed.whole, feed.pages, feed.whole_at) == (2, 1, NOW + DAY)
    assert {through(Feed(), [NOW], dice=dice).whole_at - NOW for dice in (0.0, 0.75)} == {DAY / 2, DAY * 1.25}
    assert feed.begin(NOW + DAY - 1).since == feed.watermark
    assert feed.begin(NOW + DAY).since is None
    assert through(feed, [NOW], now=NOW + DAY).whole_at == NOW + 2 * DAY


def test_a_place_survives_the_ledger():
    way = Feed().begin(NOW, allowed=9).on("next 2", [NOW - 900], 3, 1)
    feed = Feed(watermark=NOW - 700, news_at=NOW - 60, way=way)
    assert Feed.of(orjson.loads(orjson.dumps(feed.cursor))) == feed
    assert Feed.of({}) == Feed()


def test_a_pass_that_costs_more_than_it_may_is_given_up_and_costs_twice_that_in_the_next_reckoning():
    way = Feed().begin(NOW, allowed=2).on("a", [], 0, 0)
    assert not way.spent
    assert way.on("b", [], 0, 0).spent
    assert not way.on(None, [], 0, 0).spent
    assert Feed(way=way.on("b", [], 0, 0)).given_up() == Feed(whole=4)


def test_news_is_remembered_and_the_first_pass_counts_as_news():
    feed = through(Feed(), [NOW])
    assert feed.news_at == NOW
    assert through(feed, [NOW], now=NOW + 60).news_at == NOW
    way = feed.begin(NOW + 120).on(None, [NOW], 1, 0)
    assert feed.over(way, NOW, NOW + 120, 0.5).news_at == NOW + 120
