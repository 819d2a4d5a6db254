//! What a relay may take in from its higher system at a time: nothing while it is suspended, otherwise as fast as the limits
//! of its line say for the hour.

/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// A limit of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Bits per second; 0: nothing passes.
    pub bits_per_sec: u64,
    /// From this minute of the day to before that one; over midnight if the second is not later. `None`: always.
    pub minutes: Option<(u16, u16)>,
}

impl Limit {
    fn holds(&self, minute: u16) -> bool {
        match self.minutes {
            None => true,
            Some((from, to)) if from < to => (from..to).contains(&minute),
            Some((from, to)) => minute >= from || minute < to,
        }
    }
}

/// What a relay may take in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// So many bits per second; `None`: as fast as it goes.
    Open(Option<u64>),
    /// Nothing until it is resumed.
    Suspended,
    /// Nothing at this hour.
    Closed {
        /// In so many minutes, counted by the clock on the wall, something passes again; `None`: never.
        opens_in_minutes: Option<u16>,
    },
}

/// What passes at a minute of the day; of several limits that hold the lowest counts.
pub fn intake(suspended: bool, limits: &[Limit], minute: u16) -> Intake {
    let rate =
        |minute: u16| limits.iter().filter(|limit| limit.holds(minute)).map(|limit| limit.bits_per_sec).min();
    match rate(minute) {
        _ if suspended => Intake::Suspended,
        Some(0) => {
            let opens = |ahead: &u16| rate((minute + ahead) % DAY_MINUTES) != Some(0);
            Intake::Closed { opens_in_minutes: (1..DAY_MINUTES).find(opens) }
        }
        rate => Intake::Open(rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(hour: u16, minute: u16) -> u16 {
        hour * 60 + minute
    }

    #[test]
    fn the_lowest_limit_of_the_hour_counts() {
        let limits = [
            Limit { bits_per_sec: 20, minutes: None },
            Limit { bits_per_sec: 5, minutes: Some((at(8, 0), at(18, 0))) },
            Limit { bits_per_sec: 90, minutes: Some((at(17, 0), at(19, 0))) },
            Limit { bits_per_sec: 1, minutes: Some((at(23, 0), at(1, 30))) },
        ];
        let rate = |minute| intake(false, &limits, minute);
        for (minute, bits) in [
            (at(7, 59), 20),
            (at(8, 0), 5),
            (at(17, 59), 5),
            (at(18, 0), 20),
            (at(23, 0), 1),
            (at(1, 29), 1),
            (at(1, 30), 20),
        ] {
            assert_eq!(rate(minute), Intake::Open(Some(bits)), "{minute}");
        }
        assert_eq!(intake(true, &limits, 0), Intake::Suspended);
        assert_eq!(intake(false, &limits[3..], at(12, 0)), Intake::Open(None));
    }

    #[test]
    fn a_closed_line_says_when_it_opens() {
        let day = [Limit { bits_per_sec: 0, minutes: Some((at(6, 0), at(22, 0))) }];
        let closed = |limits: &[Limit], minute| match intake(false, limits, minute) {
            Intake::Closed { opens_in_minutes } => opens_in_minutes,
            other => panic!("{other:?}"),
        };
        assert_eq!(closed(&day, at(6, 0)), Some(at(16, 0)));
        assert_eq!(closed(&day, at(21, 59)), Some(1));
        assert_eq!(intake(false, &day, at(22, 0)), Intake::Open(None));
        let night = [Limit { bits_per_sec: 0, minutes: Some((at(22, 0), at(6, 0))) }];
        assert_eq!(closed(&night, at(23, 0)), Some(at(7, 0)));
        assert_eq!(closed(&[Limit { bits_per_sec: 0, minutes: None }], 5), None);
    }
}
