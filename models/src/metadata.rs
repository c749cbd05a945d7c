//! A GGUF file's metadata, read with types: every refusal names the key and its value.

use hardtack_format::limits::DIMENSION_MAX;

use crate::error::FamilyError;

/// The key that names the family.
pub(crate) const ARCHITECTURE: &str = "general.architecture";

/// One value of a GGUF file's metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Any of GGUF's unsigned integers, or a signed one that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A float of either width.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Setting>),
}

/// The metadata of a GGUF file: implemented by the converter's reader.
pub trait GgufSettings {
    /// The value of a key. Only keys of the architecture and `general.architecture` are wanted,
    /// never the tokenizer's.
    fn get(&self, key: &str) -> Option<Setting>;
}

/// The settings of one architecture: keys are given without its name in front.
pub(crate) struct Metadata<'a> {
    settings: &'a dyn GgufSettings,
    architecture: String,
}

/// Keys that change what a network computes, with the values under which they do not.
/// A family that handles one says so; all others refuse any other value.
const WATCHED: &[(&str, Neutral)] = &[
    ("attention.causal", Neutral::On),
    ("attention.clamp_kqv", Neutral::Off),
    ("attention.key_length_swa", Neutral::Off),
    ("attention.max_alibi_bias", Neutral::Off),
    ("attention.output_scale", Neutral::Off),
    ("attention.scale", Neutral::Off),
    ("attention.shared_kv_layers", Neutral::Off),
    ("attention.sliding_window", Neutral::Off),
    ("attention.sliding_window_pattern", Neutral::Off),
    ("attention.temperature_length", Neutral::Off),
    ("attention.temperature_scale", Neutral::Off),
    ("attn_logit_softcapping", Neutral::Off),
    ("embedding_scale", Neutral::One),
    ("expert_gating_func", Neutral::One),
    ("expert_group_count", Neutral::One),
    ("expert_shared_count", Neutral::Off),
    ("expert_shared_feed_forward_length", Neutral::Off),
    ("expert_weights_norm", Neutral::Off),
    ("expert_weights_scale", Neutral::One),
    ("final_logit_softcapping", Neutral::Off),
    ("interleave_moe_layer_step", Neutral::One),
    ("leading_dense_block_count", Neutral::Off),
    ("logit_scale", Neutral::One),
    ("moe_every_n_layers", Neutral::One),
    ("nextn_predict_layers", Neutral::Off),
    ("residual_scale", Neutral::One),
    ("rope.dimension_sections", Neutral::Off),
    ("rope.freq_base_swa", Neutral::Off),
    ("rope.scaling.yarn_log_multiplier", Neutral::Off),
    ("router_logit_softcapping", Neutral::Off),
    ("swiglu_clamp_exp", Neutral::Off),
    ("use_parallel_residual", Neutral::Off),
];

#[derive(Clone, Copy)]
enum Neutral {
    /// Absent, false or zero, or a list of these.
    Off,
    /// Absent, 1, or 0 for not set. (The number of the softmax gate is 1 too.)
    One,
    /// Absent or true.
    On,
}

impl<'a> Metadata<'a> {
    pub fn new(settings: &'a dyn GgufSettings) -> Result<Self, FamilyError> {
        match settings.get(ARCHITECTURE) {
            Some(Setting::Text(architecture)) => Ok(Self { settings, architecture }),
            Some(found) => Err(FamilyError::BadSetting {
                key: ARCHITECTURE.into(),
                expected: "a string",
                found: shown(&found),
            }),
            None => Err(FamilyError::MissingSetting { key: ARCHITECTURE.into() }),
        }
    }

    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A setting; a list of equal values (one for each layer) is the same as one of them.
    pub fn get(&self, key: &str) -> Option<Setting> {
        match self.settings.get(&self.name(key))? {
            Setting::List(list) => match list.first() {
                Some(first) if list.iter().all(|value| value == first) => Some(first.clone()),
                _ => Some(Setting::List(list)),
            },
            value => Some(value),
        }
    }

    pub fn optional_count(&self, key: &str) -> Result<Option<u32>, FamilyError> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting::Unsigned(count)) if count <= DIMENSION_MAX.into() => {
                Ok(Some(count as u32))
            }
            Some(found) => Err(self.bad(key, "one whole number from 0 to 2^24", &found)),
        }
    }

    pub fn count(&self, key: &str) -> Result<u32, FamilyError> {
        self.optional_count(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn positive_count(&self, key: &str) -> Result<u32, FamilyError> {
        match self.count(key)? {
            0 => Err(self.bad(key, "at least 1", &Setting::Unsigned(0))),
            count => Ok(count),
        }
    }

    pub fn optional_number(&self, key: &str) -> Result<Option<f64>, FamilyError> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting::Float(number)) if number.is_finite() => Ok(Some(number)),
            Some(Setting::Unsigned(number)) => Ok(Some(number as f64)),
            Some(found) => Err(self.bad(key, "a finite number", &found)),
        }
    }

    pub fn optional_positive(&self, key: &str) -> Result<Option<f64>, FamilyError> {
        match self.optional_number(key)? {
            Some(number) if number <= 0.0 => {
                Err(self.bad(key, "a number above 0", &Setting::Float(number)))
            }
            number => Ok(number),
        }
    }

    pub fn positive(&self, key: &str) -> Result<f64, FamilyError> {
        self.optional_positive(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool, FamilyError> {
        match self.get(key) {
            None => Ok(default),
            Some(Setting::Bool(flag)) => Ok(flag),
            Some(found) => Err(self.bad(key, "true or false", &found)),
        }
    }

    pub fn text(&self, key: &str) -> Result<Option<String>, FamilyError> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting::Text(text)) => Ok(Some(text)),
            Some(found) => Err(self.bad(key, "a string", &found)),
        }
    }

    /// Refuses every watched key that this family does not handle, unless it changes nothing.
    pub fn refuse_watched(&self, handled: &[&str]) -> Result<(), FamilyError> {
        for (key, neutral) in WATCHED.iter().filter(|(key, _)| !handled.contains(key)) {
            let Some(value) = self.get(key) else { continue };
            let (harmless, supported) = match neutral {
                Neutral::Off => (is_off(&value), "none in this architecture"),
                Neutral::One => (is_off(&value) || is_one(&value), "1 in this architecture"),
                Neutral::On => (value == Setting::Bool(true), "true"),
            };
            if !harmless {
                return Err(self.unsupported(key, supported));
            }
        }
        Ok(())
    }

    /// Refuses a number that is present and not 1.
    pub fn only_one(&self, key: &str) -> Result<(), FamilyError> {
        match self.get(key) {
            Some(value) if !is_one(&value) => Err(self.unsupported(key, "1")),
            _ => Ok(()),
        }
    }

    pub fn missing(&self, key: &str) -> FamilyError {
        FamilyError::MissingSetting { key: self.name(key) }
    }

    pub fn bad(&self, key: &str, expected: &'static str, found: &Setting) -> FamilyError {
        FamilyError::BadSetting { key: self.name(key), expected, found: shown(found) }
    }

    pub fn unsupported(&self, key: &str, supported: &'static str) -> FamilyError {
        let found = self.get(key).map_or_else(|| "absent".into(), |found| shown(&found));
        FamilyError::Unsupported { key: self.name(key), found, supported }
    }
}

fn is_off(value: &Setting) -> bool {
    match value {
        Setting::Unsigned(number) => *number == 0,
        Setting::Float(number) => *number == 0.0,
        Setting::Bool(flag) => !flag,
        Setting::List(list) => list.iter().all(is_off),
        Setting::Negative(_) | Setting::Text(_) => false,
    }
}

fn is_one(value: &Setting) -> bool {
    matches!(value, Setting::Unsigned(1)) || *value == Setting::Float(1.0)
}

/// A value as one would write it; of a list only the first few.
fn shown(value: &Setting) -> String {
    const ENTRIES_MAX: usize = 8;
    match value {
        Setting::Unsigned(number) => number.to_string(),
        Setting::Negative(number) => number.to_string(),
        Setting::Float(number) => number.to_string(),
        Setting::Bool(flag) => flag.to_string(),
        Setting::Text(text) => format!("{text:?}"),
        Setting::List(list) => {
            let entries: Vec<String> = list.iter().take(ENTRIES_MAX).map(shown).collect();
            let more = if list.len() > ENTRIES_MAX { ", ..." } else { "" };
            format!("[{}{more}]", entries.join(", "))
        }
    }
}
