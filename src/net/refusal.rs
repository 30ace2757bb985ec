//! How long to leave an exchange alone after it refused.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode};

/// How long nothing is asked where the exchange says that it is too much, and not for how long.
const TOO_MUCH: Duration = Duration::from_mins(1);
/// No exchange is left alone for longer, whatever it says.
const LONGEST: Duration = Duration::from_hours(24);

/// For how long an exchange that answers so wants to be left alone.
#[must_use]
pub fn asked_to_wait(status: StatusCode, headers: &HeaderMap, now_ns: i64) -> Duration {
    let named = headers
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| {
            let text = text.trim();
            if let Ok(seconds) = text.parse() {
                return Some(Duration::from_secs(seconds));
            }
            let until = chrono::DateTime::parse_from_rfc2822(text).ok()?.timestamp();
            Some(Duration::from_secs(
                u64::try_from(until - now_ns / 1_000_000_000).unwrap_or(0),
            ))
        });
    // 418 is Binance's for an address that did not stop.
    let usual = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::IM_A_TEAPOT | StatusCode::FORBIDDEN => TOO_MUCH,
        _ => Duration::ZERO,
    };
    named.unwrap_or(usual).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_left_alone_for_as_long_as_it_says() {
        let check = |status: u16, header: Option<&str>, seconds: u64| {
            let mut headers = HeaderMap::new();
            if let Some(text) = header {
                let _ = headers.insert("retry-after", text.parse().unwrap());
            }
            let wait = asked_to_wait(
                StatusCode::from_u16(status).unwrap(),
                &headers,
                1_445_412_480_000_000_000,
            );
            assert_eq!(wait, Duration::from_secs(seconds), "{status} {header:?}");
        };
        check(429, Some("60"), 60);
        check(429, Some(" 7 "), 7);
        check(503, Some("Wed, 21 Oct 2015 07:29:00 GMT"), 60);
        check(503, Some("Wed, 21 Oct 2015 07:27:00 GMT"), 0);
        check(429, None, 60);
        check(418, Some("soon"), 60);
        check(500, None, 0);
        check(429, Some("99999999"), 86_400);
    }
}
