-- Quotes whose bid is at or above their ask: a book cannot stand like that, so the feed or its recording was disturbed.
SELECT exchange, symbol, date, ts_event, seq, to_time(ts_event) AS time, bid_price, bid_qty, ask_price, ask_qty
FROM archive.bbo
WHERE exchange LIKE $exchange AND symbol LIKE $symbol AND date LIKE $date AND bid_price >= ask_price
ORDER BY exchange, symbol, date, ts_event, seq
