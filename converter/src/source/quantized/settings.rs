//! What a folder says about how it is quantized: the method by name, and what tensors alone do not
//! tell.

use std::path::Path;

use serde_json::Value;

use super::super::error::one_line;
use super::super::file::SourceFile;
use super::super::json_file::{CONFIG_BYTES_MAX, open_if_present, parse_json};
use super::super::{ElementKind, SourceError};
use super::parts::Parts;

/// Methods whose tensors can be read, as messages list them.
const KNOWN: &str =
    "awq, bitsandbytes, compressed-tensors, fbgemm_fp8, fp8, gptq, mlx, modelopt, mxfp4";
/// Where a configuration has its settings.
const KEYS: [&str; 3] = ["quantization_config", "compression_config", "quantization"];
/// Files that hold them where `config.json` does not: of ModelOpt, AutoGPTQ and AutoAWQ.
const FILES: [(&str, &str); 3] = [
    ("hf_quant_config.json", "modelopt"),
    ("quantize_config.json", "gptq"),
    ("quant_config.json", "awq"),
];

/// Endings of tensors by which methods show that are not read here.
const FOREIGN: [(&str, &str); 7] = [
    (".W_q", "hqq"),
    (".codebooks", "aqlm"),
    (".indices", "vptq"),
    (".weight._data", "quanto"),
    (".weight_bitmask", "a sparse format of compressed-tensors"),
    (".meta", "a sparse format of compressed-tensors"),
    (".weight_scales", "eetq"),
];

/// How weights are packed, where names and shapes leave a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Awq,
    /// Zero points are stored less one.
    Gptq,
    /// Zero points are stored as they are.
    GptqV2,
    Mlx,
    /// Names and shapes say it all.
    ByTensors,
    /// Understood by its family.
    Mxfp4,
}

/// The settings of a folder.
#[derive(Debug)]
pub(in super::super) struct Settings {
    /// The file that has them.
    pub(super) file: String,
    pub(super) method: Option<Method>,
    values: Value,
}

impl Settings {
    /// Takes the settings out of `config`, whose families know nothing of them; those of a family
    /// stay.
    pub fn read(
        folder: &Path,
        config: &mut Value,
        sources: &mut Vec<SourceFile>,
    ) -> Result<Self, SourceError> {
        let mut settings =
            Self { file: sources[0].label.clone(), method: None, values: Value::Null };
        let is_set = |value: &Value| value.as_object().is_some_and(|settings| !settings.is_empty());
        let nested = config.get("text_config").cloned();
        let found = KEYS.iter().find_map(|key| {
            let of = |config: &Value| config.get(key).filter(|value| is_set(value)).cloned();
            of(config).or_else(|| nested.as_ref().and_then(of))
        });
        if let Some(values) = found {
            let default = if values.get("format").is_some() { "compressed-tensors" } else { "mlx" };
            settings.values = values;
            settings.name_method(default)?;
        } else {
            for (name, default) in FILES {
                let Some(source) = open_if_present(&folder.join(name))? else { continue };
                settings.file.clone_from(&source.label);
                settings.values = parse_json(&source, CONFIG_BYTES_MAX)?;
                sources.push(source);
                settings.name_method(default)?;
                break;
            }
        }
        if settings.method != Some(Method::Mxfp4) {
            forget(config);
            config.get_mut("text_config").into_iter().for_each(forget);
        }
        Ok(settings)
    }

    fn name_method(&mut self, default: &str) -> Result<(), SourceError> {
        let name = self.text("quant_method").unwrap_or(default).to_lowercase().replace('_', "-");
        let method = match name.as_str() {
            "awq" => self.awq()?,
            "gptq" => self.gptq()?,
            "auto-round" | "intel/auto-round" => self.auto_round()?,
            "compressed-tensors" => self.compressed()?,
            "modelopt" | "modelopt-fp4" | "modelopt-fp8" => self.model_opt()?,
            "fp8" | "fbgemm-fp8" | "bitsandbytes" => Method::ByTensors,
            "mlx" => Method::Mlx,
            "mxfp4" => Method::Mxfp4,
            _ => {
                return Err(self.unknown(
                    "quant_method",
                    self.text("quant_method").unwrap_or(&name),
                    KNOWN,
                ));
            }
        };
        self.method = Some(method);
        Ok(())
    }

    fn awq(&self) -> Result<Method, SourceError> {
        let version = self.text("version").or(self.text("format")).unwrap_or("gemm");
        match version.to_lowercase().as_str() {
            "gemm" => Ok(Method::Awq),
            _ => Err(self.unknown("AWQ version", version, "gemm")),
        }
    }

    fn gptq(&self) -> Result<Method, SourceError> {
        let format = self.text("checkpoint_format").or(self.text("format")).unwrap_or("gptq");
        if self.values.get("is_marlin_format").and_then(Value::as_bool) == Some(true) {
            return Err(self.unknown("checkpoint_format", "marlin", "gptq, gptq_v2"));
        }
        match format {
            "gptq" => Ok(Method::Gptq),
            "gptq_v2" => Ok(Method::GptqV2),
            _ => Err(self.unknown("checkpoint_format", format, "gptq, gptq_v2")),
        }
    }

    /// AutoRound writes the formats of others.
    fn auto_round(&self) -> Result<Method, SourceError> {
        const FORMATS: &str =
            "auto_round, auto_round:auto_gptq, auto_round:gptqmodel, auto_round:auto_awq";
        let format = self.text("packing_format").unwrap_or("none");
        match format {
            "auto_round:auto_gptq" => Ok(Method::Gptq),
            "auto_round" | "auto_round:gptqmodel" => Ok(Method::GptqV2),
            "auto_round:auto_awq" => Ok(Method::Awq),
            _ => Err(self.unknown("packing_format", format, FORMATS)),
        }
    }

    fn compressed(&self) -> Result<Method, SourceError> {
        const FORMATS: [&str; 9] = [
            "dense",
            "float-quantized",
            "int-quantized",
            "mixed-precision",
            "mxfp4-pack-quantized",
            "mxfp8-quantized",
            "naive-quantized",
            "nvfp4-pack-quantized",
            "pack-quantized",
        ];
        let formats = self
            .values
            .get("format")
            .into_iter()
            .chain(self.groups().filter_map(|group| group.get("format")));
        for format in formats.filter_map(Value::as_str) {
            if !FORMATS.contains(&format) {
                return Err(self.unknown("format", format, &FORMATS.join(", ")));
            }
        }
        let sparse = self
            .values
            .get("sparsity_config")
            .and_then(|sparse| sparse.get("format"))
            .and_then(Value::as_str);
        if let Some(format) = sparse.filter(|format| *format != "dense") {
            return Err(self.unknown("sparsity_config.format", format, "dense"));
        }
        let turned =
            self.values.get("transform_config").and_then(|turned| turned.get("config_groups"));
        if turned.and_then(Value::as_object).is_some_and(|groups| !groups.is_empty()) {
            return Err(self.unknown(
                "transform_config",
                "transformed weights",
                "weights as they are",
            ));
        }
        Ok(Method::ByTensors)
    }

    fn model_opt(&self) -> Result<Method, SourceError> {
        const ALGORITHMS: [&str; 5] =
            ["FP8", "FP8_PB_WO", "FP8_PER_CHANNEL_PER_TOKEN", "MIXED_PRECISION", "NVFP4"];
        let inner = self.values.get("quantization").unwrap_or(&self.values);
        match inner.get("quant_algo").and_then(Value::as_str) {
            Some(algorithm) if !ALGORITHMS.contains(&algorithm) => {
                Err(self.unknown("quant_algo", algorithm, &ALGORITHMS.join(", ")))
            }
            _ => Ok(Method::ByTensors),
        }
    }

    fn unknown(&self, setting: &str, found: &str, known: &str) -> SourceError {
        SourceError::Quantization {
            file: self.file.clone(),
            setting: setting.to_owned(),
            found: one_line(found),
            known: known.to_owned(),
        }
    }

    fn groups(&self) -> impl Iterator<Item = &Value> {
        self.values
            .get("config_groups")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|groups| groups.values())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).and_then(Value::as_str)
    }

    /// Bits of a code.
    pub(super) fn bits(&self) -> Option<usize> {
        let bits = self.values.get("bits").or(self.values.get("w_bit"))?;
        usize::try_from(bits.as_u64()?).ok()
    }

    /// Columns of a group.
    pub fn group_size(&self) -> Option<usize> {
        let size = self.values.get("group_size").or(self.values.get("q_group_size"))?;
        usize::try_from(size.as_u64()?).ok().filter(|size| *size > 0)
    }

    /// Rows and columns of the blocks that share a scale.
    pub fn block(&self) -> Option<[usize; 2]> {
        let own = |values: &Value, key: &str| -> Option<[usize; 2]> {
            let sizes = values.get(key)?.as_array()?;
            let size =
                |at: usize| usize::try_from(sizes.get(at)?.as_u64()?).ok().filter(|size| *size > 0);
            Some([size(0)?, size(1)?])
        };
        own(&self.values, "weight_block_size").or_else(|| {
            self.groups().find_map(|group| own(group.get("weights")?, "block_structure"))
        })
    }

    /// The widths that compressed-tensors packs, as the configuration names them.
    pub fn packed_bits(&self) -> Vec<usize> {
        let bits = |group: &Value| group.get("weights")?.get("num_bits")?.as_u64();
        self.groups().filter_map(bits).filter_map(|bits| usize::try_from(bits).ok()).collect()
    }

    /// MLX's group size, bits and mode of a module: its own, or those of all.
    pub fn of_module(&self, module: &str) -> Option<(usize, usize, &str)> {
        let own = self.values.get(module).filter(|own| own.is_object());
        let setting = |key: &str| own.and_then(|own| own.get(key)).or(self.values.get(key));
        let count = |key: &str| usize::try_from(setting(key)?.as_u64()?).ok();
        let mode = setting("mode").and_then(Value::as_str).unwrap_or("affine");
        Some((count("group_size")?, count("bits")?, mode))
    }

    /// Refuses codes that nothing here can read: a float of eight bits without its scale in a
    /// folder that has a quantization, which is not the number it says, and the tensors of methods
    /// that say nothing in a configuration.
    pub(super) fn check_plain(&self, parts: &Parts<'_>) -> Result<(), SourceError> {
        use ElementKind::*;
        let is_code = |kind| matches!(kind, F8E4M3 | F8E5M2 | F8E4M3Fnuz | F8E5M2Fnuz);
        for tensor in parts.left() {
            if self.method.is_some() && is_code(tensor.kind) {
                return Err(SourceError::LoneCodes {
                    file: parts.stored.label(tensor).to_owned(),
                    tensor: tensor.name.clone(),
                    part: format!("{}_scale", tensor.name),
                });
            }
            if let Some((_, method)) =
                FOREIGN.iter().find(|(ending, _)| tensor.name.ends_with(ending))
            {
                let setting = format!("the method of tensor {}", tensor.name);
                return Err(self.unknown(&setting, method, KNOWN));
            }
        }
        Ok(())
    }
}

fn forget(config: &mut Value) {
    if let Some(settings) = config.as_object_mut() {
        settings.retain(|key, _| !KEYS.contains(&key.as_str()));
    }
}
