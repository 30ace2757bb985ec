-- Silences of more than $seconds between neighbouring events of a series, also across midnight. The silence before the
-- first event and after the last one of the selection is not a gap: coverage shows these.
WITH events AS (
    SELECT exchange, stream, symbol, date, ts_event, to_ns(ts_event) AS ns
    FROM archive.events
    WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
        AND ts_event IS NOT NULL
),
neighbours AS (
    -- By day and time as they are stored, which is the order of the files: where receipts vouch for it, no row is sorted.
    SELECT
        exchange,
        stream,
        symbol,
        ns,
        lag(ns) OVER (PARTITION BY exchange, stream, symbol ORDER BY date, ts_event) AS ns_before
    FROM events
)
SELECT
    exchange,
    stream,
    symbol,
    to_time(ns_before) AS silent_from,
    to_time(ns) AS silent_until,
    (ns - ns_before) / 1e9 AS seconds
FROM neighbours
WHERE ns - ns_before > $seconds * 1e9
ORDER BY exchange, stream, symbol, ns
