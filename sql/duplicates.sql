-- Events of one partition that share ts_event and seq. Such rows are kept by qlc, in an order of their own; whether they
-- are one event recorded twice or two events is for the reader to say.
-- Such rows are neighbours in the order of the files, so each is held against the one before it; where receipts vouch for
-- that order, no row is sorted.
WITH neighbours AS (
    SELECT
        exchange,
        stream,
        symbol,
        date,
        ts_event,
        seq,
        lag(ts_event) OVER w AS ts_event_before,
        lag(seq) OVER w AS seq_before
    FROM archive.events
    WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
    WINDOW w AS (PARTITION BY exchange, stream, symbol, date ORDER BY ts_event, seq NULLS FIRST)
)
SELECT exchange, stream, symbol, date, ts_event, seq, to_time(ts_event) AS time, count(*) + 1 AS rows
FROM neighbours
WHERE ts_event = ts_event_before AND seq IS NOT DISTINCT FROM seq_before
GROUP BY exchange, stream, symbol, date, ts_event, seq
ORDER BY exchange, stream, symbol, date, ts_event, seq
