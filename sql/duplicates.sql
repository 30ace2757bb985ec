-- Events of one partition that share ts_event and seq. Such rows are kept by qlc, in an order of their own; whether they
-- are one event recorded twice or two events is for the reader to say.
SELECT exchange, stream, symbol, date, ts_event, seq, to_time(ts_event) AS time, count(*) AS rows
FROM archive.events
WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
GROUP BY exchange, stream, symbol, date, ts_event, seq
HAVING count(*) > 1
ORDER BY exchange, stream, symbol, date, ts_event, seq
