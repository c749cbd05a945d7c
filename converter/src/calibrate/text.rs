//! Calibration texts as windows of tokens: checked before anything long is begun.

use hardtack_format::spec::ModelSpec;

use super::error::CalibrateError;

/// One text. Every window is a sequence of its own: its first token is at position 0 and sees
/// nothing before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Hash of the text itself, kept in the tables.
    pub hash: String,
    /// Windows of tokens.
    pub tokens: Vec<Vec<u32>>,
}

/// One window among all of them.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Number of its text.
    pub domain: usize,
    /// Row of its first token among all windows' tokens.
    pub first: usize,
    /// Its tokens.
    pub tokens: &'a [u32],
}

impl Domain {
    /// Tokens of all windows.
    pub fn token_count(&self) -> usize {
        self.tokens.iter().map(Vec::len).sum()
    }

    /// BLAKE3 of its windows, in hexadecimal digits.
    pub fn tokens_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for window in &self.tokens {
            hasher.update(&(window.len() as u64).to_le_bytes());
            window.iter().for_each(|token| {
                hasher.update(&token.to_le_bytes());
            });
        }
        hasher.finalize().to_hex().to_string()
    }

    fn check(&self, spec: &ModelSpec, tokens_min: usize) -> Result<(), CalibrateError> {
        let wrong = |expected: String, found: String| CalibrateError::Text {
            domain: self.name.clone(),
            expected,
            found,
        };
        let count = self.token_count();
        if count < tokens_min {
            return Err(wrong(format!("at least {tokens_min} tokens"), format!("{count}")));
        }
        for window in &self.tokens {
            if window.len() < 2 || window.len() > spec.context_max as usize {
                let expected = format!("windows of 2 to {} tokens", spec.context_max);
                return Err(wrong(expected, format!("one of {}", window.len())));
            }
            if let Some(token) = window.iter().find(|token| **token >= spec.vocabulary) {
                return Err(wrong(
                    format!("tokens below {}", spec.vocabulary),
                    format!("token {token}"),
                ));
            }
        }
        Ok(())
    }
}

/// Refuses texts that cannot be calibrated on.
///
/// # Errors
/// There is none, one is too short or of the same name as another, or its windows do not fit the
/// model.
pub fn check(
    spec: &ModelSpec,
    domains: &[Domain],
    tokens_min: usize,
) -> Result<(), CalibrateError> {
    windows(domains, spec, tokens_min).map(|_| ())
}

/// All windows of all texts, in order.
pub fn windows<'a>(
    domains: &'a [Domain],
    spec: &ModelSpec,
    tokens_min: usize,
) -> Result<Vec<Window<'a>>, CalibrateError> {
    if domains.is_empty() {
        return Err(CalibrateError::Settings {
            expected: "at least one text".to_owned(),
            found: "none".to_owned(),
        });
    }
    let mut windows = Vec::new();
    let mut first = 0;
    for (domain, own) in domains.iter().enumerate() {
        own.check(spec, tokens_min.max(2))?;
        if domains[..domain].iter().any(|other| other.name == own.name) {
            let found = format!("{} twice", own.name);
            return Err(CalibrateError::Settings {
                expected: "texts of different names".to_owned(),
                found,
            });
        }
        for tokens in &own.tokens {
            windows.push(Window { domain, first, tokens });
            first += tokens.len();
        }
    }
    Ok(windows)
}
