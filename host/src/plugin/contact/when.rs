//! A moment, as people write it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, shown as `2026-01-31 12:00 UTC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct When(u64);

impl When {
    /// This moment, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// A moment from seconds since 1970.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }
}

impl fmt::Display for When {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, minutes) = (self.0 / 86_400, self.0 % 86_400 / 60);
        // Years begin in March, so that a leap day is a year's last; eras of 400 years repeat.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = era * 400 + year + carry;
        write!(formatter, "{year:04}-{month:02}-{date:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::When;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let said = |seconds| When::from_seconds(seconds).to_string();
        assert_eq!(said(0), "1970-01-01 00:00 UTC");
        assert_eq!(said(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(said(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(said(951_868_800), "2000-03-01 00:00 UTC");
        assert_eq!(said(1_767_225_599), "2025-12-31 23:59 UTC");
        assert_eq!(said(1_795_477_656), "2026-11-23 23:47 UTC");
        assert_eq!(said(4_107_542_400), "2100-03-01 00:00 UTC");
    }
}
