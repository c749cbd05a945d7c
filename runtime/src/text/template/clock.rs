//! A date and a time of day, and Python's `strftime` of it.

use chrono::{Datelike, Local, NaiveDate, NaiveDateTime, Timelike};

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// What a template takes for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    now: NaiveDateTime,
}

impl Clock {
    /// The machine's local time.
    pub fn local() -> Self {
        Self { now: Local::now().naive_local() }
    }

    /// Midnight of a day; none if there is no such day.
    pub fn date(year: i32, month: u32, day: u32) -> Option<Self> {
        let date = NaiveDate::from_ymd_opt(year, month, day)?;
        Some(Self { now: date.and_hms_opt(0, 0, 0)? })
    }

    /// The same day at another time; none if there is no such time.
    pub fn at(self, hour: u32, minute: u32, second: u32) -> Option<Self> {
        Some(Self { now: self.now.date().and_hms_opt(hour, minute, second)? })
    }

    /// Writes the time as `datetime.strftime` does in the C locale; directives that it does not
    /// know stay as they are.
    pub(super) fn format(&self, format: &str) -> String {
        let mut text = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            let mut after = rest[at + 1..].chars();
            let mut directive = after.next();
            // glibc's flags: no padding, spaces, zeros, capitals.
            let flag = directive.filter(|flag| "-_0^#".contains(*flag));
            if flag.is_some() {
                directive = after.next();
            }
            let end = rest.len() - after.as_str().len();
            match directive.and_then(|directive| self.directive(directive)) {
                Some(written) => text.push_str(&flagged(&written, flag)),
                None => text.push_str(&rest[at..end]),
            }
            rest = &rest[end..];
        }
        text + rest
    }

    fn directive(&self, directive: char) -> Option<String> {
        let now = &self.now;
        let (hour, day) = (now.hour(), now.day());
        let twelve = (hour + 11) % 12 + 1;
        let weekday = now.weekday().num_days_from_sunday();
        let ordinal = now.ordinal0();
        // Weeks that begin on a Sunday or a Monday; days before the first one are in week 0.
        let week = |first: u32| (ordinal + 7 - (weekday + 7 - first) % 7) / 7;
        let iso = now.iso_week();
        let month = MONTHS[now.month0() as usize % 12];
        let name = DAYS[weekday as usize % 7];
        Some(match directive {
            'a' => name[..3].to_owned(),
            'A' => name.to_owned(),
            'b' | 'h' => month[..3].to_owned(),
            'B' => month.to_owned(),
            'c' => self.format("%a %b %e %H:%M:%S %Y"),
            'C' => format!("{:02}", now.year().div_euclid(100)),
            'd' => format!("{day:02}"),
            'D' | 'x' => self.format("%m/%d/%y"),
            'e' => format!("{day:2}"),
            'f' => format!("{:06}", now.nanosecond() / 1000 % 1_000_000),
            'F' => self.format("%Y-%m-%d"),
            'g' => format!("{:02}", iso.year().rem_euclid(100)),
            'G' => iso.year().to_string(),
            'H' => format!("{hour:02}"),
            'I' => format!("{twelve:02}"),
            'j' => format!("{:03}", now.ordinal()),
            'k' => format!("{hour:2}"),
            'l' => format!("{twelve:2}"),
            'm' => format!("{:02}", now.month()),
            'M' => format!("{:02}", now.minute()),
            'n' => "\n".to_owned(),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'P' => if hour < 12 { "am" } else { "pm" }.to_owned(),
            'r' => self.format("%I:%M:%S %p"),
            'R' => self.format("%H:%M"),
            's' => now.and_utc().timestamp().to_string(),
            'S' => format!("{:02}", now.second()),
            't' => "\t".to_owned(),
            'T' | 'X' => self.format("%H:%M:%S"),
            'u' => now.weekday().number_from_monday().to_string(),
            'U' => format!("{:02}", week(0)),
            'V' => format!("{:02}", iso.week()),
            'w' => weekday.to_string(),
            'W' => format!("{:02}", week(1)),
            'y' => format!("{:02}", now.year().rem_euclid(100)),
            'Y' => now.year().to_string(),
            // The time is naive: it has no zone.
            'z' | 'Z' => String::new(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

fn flagged(written: &str, flag: Option<char>) -> String {
    let is_number =
        written.trim_start().bytes().all(|byte| byte.is_ascii_digit()) && !written.is_empty();
    let bare = || match written.trim_start_matches(['0', ' ']) {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    };
    match flag {
        Some('-') if is_number => bare(),
        Some('_') if is_number => format!("{:>width$}", bare(), width = written.len()),
        Some('0') if is_number => format!("{:0>width$}", bare(), width = written.len()),
        Some('^') => written.to_uppercase(),
        Some('#') => match written {
            "AM" | "PM" => written.to_lowercase(),
            _ => written.to_uppercase(),
        },
        _ => written.to_owned(),
    }
}
