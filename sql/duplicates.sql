-- Events of one partition that share ts_event, seq and sub_seq, by which the events of a collector differ (rows of version 1
-- have no sub_seq). qlc keeps such rows: whether they are one event that was recorded twice is for the reader to say.
-- They are neighbours in the order of the files, so each row is held against the one before it; where receipts vouch for
-- that order, no row is sorted.
WITH neighbours AS (
    SELECT
        exchange,
        stream,
        symbol,
        date,
        ts_event,
        seq,
        sub_seq,
        lag(ts_event) OVER w AS ts_event_before,
        lag(seq) OVER w AS seq_before,
        lag(sub_seq) OVER w AS sub_seq_before
    FROM archive.events
    WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
    WINDOW w AS (
        PARTITION BY exchange, stream, symbol, date
        ORDER BY ts_event, seq NULLS FIRST, sub_seq NULLS FIRST
    )
)
SELECT exchange, stream, symbol, date, ts_event, seq, sub_seq, to_time(ts_event) AS time, count(*) + 1 AS rows
FROM neighbours
WHERE
    ts_event = ts_event_before
    AND (seq IS NOT DISTINCT FROM seq_before)
    AND (sub_seq IS NOT DISTINCT FROM sub_seq_before)
GROUP BY exchange, stream, symbol, date, ts_event, seq, sub_seq
ORDER BY exchange, stream, symbol, date, ts_event, seq, sub_seq
