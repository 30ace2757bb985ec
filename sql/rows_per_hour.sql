-- Events of each series in each UTC hour that has any.
SELECT exchange, stream, symbol, date, date_trunc('hour', to_time(ts_event)) AS hour, count(*) AS rows
FROM archive.events
WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
GROUP BY exchange, stream, symbol, date, hour
ORDER BY exchange, stream, symbol, date, hour
