-- Rows of the archive that come after a row they should come before: within each data.parquet, (ts_event, seq) must
-- ascend from row to row. The row's place is its number in the file, counted by the Parquet reader, so the result does
-- not depend on how the scan is spread over threads, and a file that merely claims to be sorted is found out.
WITH placed AS (
    SELECT exchange, stream, symbol, date, ts_event, seq, file_row_index() AS file_row
    FROM archive.events
    WHERE exchange LIKE $exchange AND stream LIKE $stream AND symbol LIKE $symbol AND date LIKE $date
),
neighbours AS (
    SELECT
        *,
        lag(ts_event) OVER w AS ts_event_before,
        lag(seq) OVER w AS seq_before
    FROM placed
    WINDOW w AS (PARTITION BY exchange, stream, symbol, date ORDER BY file_row)
)
SELECT exchange, stream, symbol, date, file_row, ts_event, seq, ts_event_before, seq_before
FROM neighbours
WHERE ts_event IS NULL
    OR ts_event < ts_event_before
    OR (ts_event = ts_event_before AND (seq < seq_before OR (seq IS NULL AND seq_before IS NOT NULL)))
ORDER BY exchange, stream, symbol, date, file_row
