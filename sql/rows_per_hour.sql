-- Events of each series in each UTC hour that has any.
-- Whole hours are counted as numbers, because date_trunc costs more than reading the rows.
WITH hours AS (
    SELECT exchange, stream, symbol, date, to_ns(ts_event) / 3600000000000 AS number, count(*) AS rows
    FROM archive.events
    WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
    GROUP BY exchange, stream, symbol, date, number
)
SELECT exchange, stream, symbol, date, to_time(number * 3600000000000) AS hour, rows
FROM hours
ORDER BY exchange, stream, symbol, date, hour
