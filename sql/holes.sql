-- Numbers that are missing where an exchange numbers the events of a series one after the other: the aggregated trades of
-- Binance. Of other streams a jump of seq means nothing. Rows of version 1 have the number in trade_id.
-- The number before the first row of the selection and after its last one are not known to be missing.
WITH numbered AS (
    SELECT
        exchange,
        'trade' AS stream,
        symbol,
        ts_event,
        CASE WHEN stream_version >= 2 THEN seq ELSE TRY_CAST(trade_id AS BIGINT) END AS number
    FROM archive.trade
    WHERE
        exchange = 'binance' AND exchange LIKE $exchange AND 'trade' LIKE $stream
        AND symbol LIKE $symbol AND date LIKE $date
),
neighbours AS (
    SELECT
        exchange,
        stream,
        symbol,
        number,
        to_time(ts_event) AS time,
        lag(number) OVER w AS number_before,
        to_time(lag(ts_event) OVER w) AS time_before
    FROM numbered
    WHERE number IS NOT NULL
    WINDOW w AS (PARTITION BY exchange, stream, symbol ORDER BY number)
)
SELECT
    exchange,
    stream,
    symbol,
    number_before + 1 AS first_missing,
    number - 1 AS last_missing,
    number - number_before - 1 AS missing,
    time_before AS after,
    time AS before
FROM neighbours
WHERE number - number_before > 1
ORDER BY exchange, stream, symbol, number
