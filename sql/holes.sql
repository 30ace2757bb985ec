-- Numbers that are missing where an exchange numbers the events of a series one after the other: the aggregated trades of
-- Binance. Of other streams a jump of seq means nothing. Rows of version 1 have the number in trade_id.
-- The number before the first row of the selection and after its last one are not known to be missing. Where the numbers fall by
-- more than a hundred, the exchange counts anew, and each count is looked at by itself.
WITH numbered AS (
    SELECT
        exchange,
        symbol,
        to_ns(ts_event) AS ns,
        CASE WHEN stream_version >= 2 THEN seq ELSE TRY_CAST(trade_id AS BIGINT) END AS number
    FROM archive.trade
    WHERE
        exchange = 'binance' AND exchange LIKE $exchange AND 'trade' LIKE $stream
        AND symbol LIKE $symbol AND date LIKE $date
),
marked AS (
    SELECT exchange, symbol, ns, number, CASE WHEN number < lag(number) OVER w - 100 THEN 1 ELSE 0 END AS anew
    FROM numbered
    WHERE number IS NOT NULL
    WINDOW w AS (PARTITION BY exchange, symbol ORDER BY ns, number)
),
counted AS (
    SELECT exchange, symbol, ns, number, sum(anew) OVER w AS count
    FROM marked
    WINDOW w AS (PARTITION BY exchange, symbol ORDER BY ns, number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
neighbours AS (
    SELECT exchange, symbol, ns, number, lag(number) OVER w AS number_before, lag(ns) OVER w AS ns_before
    FROM counted
    WINDOW w AS (PARTITION BY exchange, symbol, count ORDER BY number)
)
SELECT
    exchange,
    'trade' AS stream,
    symbol,
    number_before + 1 AS first_missing,
    number - 1 AS last_missing,
    number - number_before - 1 AS missing,
    to_time(ns_before) AS after,
    to_time(ns) AS before
FROM neighbours
WHERE number - number_before > 1
ORDER BY exchange, symbol, ns, number
