-- One row per published partition: the rows that its data holds and those that meta.json promises, the first and the last
-- event, and in how many of the 24 hours there are events.
WITH found AS (
    SELECT
        exchange,
        stream,
        symbol,
        date,
        count(*) AS rows,
        min(to_ns(ts_event)) AS first_ns,
        max(to_ns(ts_event)) AS last_ns,
        count(DISTINCT to_ns(ts_event) / 3600000000000) AS hours
    FROM archive.events
    WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
    GROUP BY exchange, stream, symbol, date
),
promised AS (
    SELECT exchange, stream, symbol, date, row_count, source_files, data_bytes
    FROM archive.meta
    WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
)
SELECT
    p.exchange,
    p.stream,
    p.symbol,
    p.date,
    coalesce(f.rows, 0) AS rows,
    p.row_count AS meta_rows,
    to_time(f.first_ns) AS first_event,
    to_time(f.last_ns) AS last_event,
    coalesce(f.hours, 0) AS hours,
    p.source_files,
    p.data_bytes
FROM promised p
LEFT JOIN found f
    ON f.exchange = p.exchange AND f.stream = p.stream AND f.symbol = p.symbol AND f.date = p.date
ORDER BY p.exchange, p.stream, p.symbol, p.date
