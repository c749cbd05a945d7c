//! A checkpoint's `config.json`, read with types: every refusal names the setting and its value.

use hardtack_format::limits::DIMENSION_MAX;
use serde_json::Value;

use crate::error::FamilyError;

/// An object of settings, and where it is in the file. A `null` is the same as nothing.
#[derive(Clone, Debug)]
pub(crate) struct Config<'a> {
    value: &'a Value,
    path: String,
}

/// Settings that change what a network computes, with the only value under which they do not.
/// A family that handles one says so; all others refuse any other value.
const WATCHED: &[(&str, Neutral)] = &[
    ("attention_bias", Neutral::Off),
    ("attention_multiplier", Neutral::Off),
    ("attn_logit_softcapping", Neutral::Off),
    ("clip_qkv", Neutral::Off),
    ("embedding_multiplier", Neutral::One),
    ("final_logit_softcapping", Neutral::Off),
    ("logit_scale", Neutral::One),
    ("logits_scaling", Neutral::One),
    ("mlp_bias", Neutral::Off),
    ("no_rope_layers", Neutral::Off),
    ("num_nextn_predict_layers", Neutral::Off),
    ("partial_rotary_factor", Neutral::One),
    ("quantization_config", Neutral::Off),
    ("residual_multiplier", Neutral::One),
    ("router_logit_softcapping", Neutral::Off),
    ("sliding_window", Neutral::Off),
    ("use_qk_norm", Neutral::Off),
    ("use_sliding_window", Neutral::Off),
];

#[derive(Clone, Copy)]
enum Neutral {
    /// Absent, false, zero or empty.
    Off,
    /// Absent or 1.
    One,
}

impl<'a> Config<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// A setting that is neither absent nor null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    /// A setting's name with its place in the file.
    pub fn name(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// An object within this one, unless absent or empty.
    pub fn object(&self, key: &str) -> Result<Option<Self>, FamilyError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let object = value.as_object().ok_or_else(|| self.bad(key, "an object", value))?;
        Ok((!object.is_empty()).then(|| Self { value, path: format!("{}{key}.", self.path) }))
    }

    /// A count from 0 up to the largest dimension of the format.
    pub fn optional_count(&self, key: &str) -> Result<Option<u32>, FamilyError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let whole = value.as_u64().or_else(|| {
            // Some tools write `131072.0`.
            value
                .as_f64()
                .filter(|number| number.fract() == 0.0 && *number >= 0.0)
                .map(|number| number as u64)
        });
        match whole
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| *count <= DIMENSION_MAX)
        {
            Some(count) => Ok(Some(count)),
            None => Err(self.bad(key, "a whole number from 0 to 2^24", value)),
        }
    }

    pub fn count(&self, key: &str) -> Result<u32, FamilyError> {
        self.optional_count(key)?.ok_or_else(|| self.missing(key))
    }

    /// A count of at least 1: something is divided by it, or 0 would leave nothing of the network.
    pub fn positive_count(&self, key: &str) -> Result<u32, FamilyError> {
        match self.count(key)? {
            0 => Err(self.bad(key, "at least 1", &0.into())),
            count => Ok(count),
        }
    }

    pub fn optional_number(&self, key: &str) -> Result<Option<f64>, FamilyError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| self.bad(key, "a finite number", value))
    }

    pub fn number(&self, key: &str) -> Result<f64, FamilyError> {
        self.optional_number(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn optional_positive(&self, key: &str) -> Result<Option<f64>, FamilyError> {
        match self.optional_number(key)? {
            Some(number) if number <= 0.0 => Err(self.bad(key, "a number above 0", &number.into())),
            number => Ok(number),
        }
    }

    pub fn positive(&self, key: &str) -> Result<f64, FamilyError> {
        self.optional_positive(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool, FamilyError> {
        Ok(self.optional_flag(key)?.unwrap_or(default))
    }

    pub fn optional_flag(&self, key: &str) -> Result<Option<bool>, FamilyError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.bad(key, "true or false", value))
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, FamilyError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.bad(key, "a string", value))
    }

    pub fn list(&self, key: &str) -> Result<Option<&'a [Value]>, FamilyError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value
            .as_array()
            .map(|list| Some(list.as_slice()))
            .ok_or_else(|| self.bad(key, "a list", value))
    }

    /// Refuses a text setting that is present and not the one that is supported.
    pub fn only_text(&self, key: &str, supported: &'static str) -> Result<(), FamilyError> {
        match self.text(key)? {
            Some(found) if found != supported => Err(self.unsupported(key, supported)),
            _ => Ok(()),
        }
    }

    /// Refuses every watched setting that this family does not handle, unless it changes nothing.
    pub fn refuse_watched(&self, handled: &[&str]) -> Result<(), FamilyError> {
        self.only_text("hidden_act", "silu")?;
        for (key, neutral) in WATCHED.iter().filter(|(key, _)| !handled.contains(key)) {
            let Some(value) = self.get(key) else { continue };
            let harmless = match neutral {
                Neutral::Off => is_off(value),
                Neutral::One => value.as_f64() == Some(1.0),
            };
            if !harmless {
                let supported = match neutral {
                    Neutral::Off => "none in this family",
                    Neutral::One => "1 in this family",
                };
                return Err(self.unsupported(key, supported));
            }
        }
        Ok(())
    }

    pub fn missing(&self, key: &str) -> FamilyError {
        FamilyError::MissingSetting { key: self.name(key) }
    }

    pub fn bad(&self, key: &str, expected: &'static str, found: &Value) -> FamilyError {
        FamilyError::BadSetting { key: self.name(key), expected, found: shortened(found) }
    }

    pub fn unsupported(&self, key: &str, supported: &'static str) -> FamilyError {
        let found = self.get(key).map_or_else(|| "absent".into(), shortened);
        FamilyError::Unsupported { key: self.name(key), found, supported }
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// A value as it is in the file, cut to the length of a line.
fn shortened(value: &Value) -> String {
    const CHARACTERS_MAX: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
