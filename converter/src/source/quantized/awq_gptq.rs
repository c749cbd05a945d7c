//! `qweight`, `qzeros` and `scales`: the layouts of AutoGPTQ and GPTQModel, and AutoAWQ's for its
//! gemm kernels.
//!
//! A weight `[outputs, inputs]` is stored turned. GPTQ packs codes along the inputs,
//! `[inputs * bits / 32, outputs]`, and zero points along the outputs,
//! `[groups, outputs * bits / 32]`; its `g_idx` has the group of every input. AWQ packs both along
//! the outputs, eight to a word in an order of its own, `[inputs, outputs / 8]`. Scales are
//! `[groups, outputs]` in both.

use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::{Codes, Order};
use super::grid::{Entries, Grid, Sharing, is_numbers};
use super::parts::Parts;
use super::settings::{Method, Settings};
use super::values::Values;
use super::weight::{Grouped, Groups, Layout, Quantized, Shift};

const WORD_BITS: usize = 32;
const AWQ_BITS: usize = 4;

/// The weight whose codes are `NAME.qweight`.
pub(super) fn find(
    name: &str,
    parts: &mut Parts<'_>,
    settings: &Settings,
) -> Result<Option<Quantized>, SourceError> {
    let Some(module) = name.strip_suffix(".qweight") else { return Ok(None) };
    let Some(codes) = parts.take(name) else { return Ok(None) };
    let weight = format!("{module}.weight");
    parts.check_free(&weight, &codes)?;
    let scales = parts.take_for(&codes, &format!("{module}.scales"))?;
    let zeros = parts.take_for(&codes, &format!("{module}.qzeros"))?;
    let listed = parts.take(&format!("{module}.g_idx"));
    for (tensor, fits) in [
        (&codes, matches!(codes.kind, ElementKind::I32 | ElementKind::U32)),
        (&zeros, matches!(zeros.kind, ElementKind::I32 | ElementKind::U32)),
        (&scales, is_numbers(scales.kind)),
    ] {
        if !fits || tensor.shape.len() != 2 {
            return Err(parts.wrong_kind(tensor, "a matrix of words (of scales: of floats)"));
        }
    }
    let [groups, outputs] = [scales.shape[0], scales.shape[1]];
    let own = Own { weight, codes, scales, zeros, groups, outputs };
    match settings.method {
        Some(Method::Awq) => own.awq(parts).map(Some),
        Some(Method::Gptq) => own.gptq(parts, settings, listed, true).map(Some),
        Some(Method::GptqV2) => own.gptq(parts, settings, listed, false).map(Some),
        _ => Err(SourceError::Quantization {
            file: settings.file.clone(),
            setting: "quantization_config.quant_method".into(),
            found: format!("absent, beside a tensor {name}"),
            known: "awq, gptq".into(),
        }),
    }
}

struct Own {
    weight: String,
    codes: TensorInfo,
    scales: TensorInfo,
    zeros: TensorInfo,
    groups: usize,
    outputs: usize,
}

impl Own {
    fn awq(self, parts: &Parts<'_>) -> Result<Quantized, SourceError> {
        let (inputs, words) = (self.codes.shape[0], self.outputs.div_ceil(WORD_BITS / AWQ_BITS));
        parts.check_shape(&self.codes, &[inputs, words])?;
        parts.check_shape(&self.zeros, &[self.groups, words])?;
        if !inputs.is_multiple_of(self.groups) {
            let expected = format!("a number of groups that divides {inputs} inputs");
            return Err(parts.wrong(&self.scales, ": shape", expected, self.groups.to_string()));
        }
        let groups = Groups::Every(inputs / self.groups);
        Ok(self.weight(inputs, AWQ_BITS, [Order::Awq; 2], Values::unsigned(), groups, "AWQ"))
    }

    fn gptq(
        self,
        parts: &Parts<'_>,
        settings: &Settings,
        listed: Option<TensorInfo>,
        less_one: bool,
    ) -> Result<Quantized, SourceError> {
        // Shapes outrank the configuration, which is wrong for modules that have bits of their own.
        let stored_bits = self.codes.shape[0] * WORD_BITS;
        let fits = |bits: &usize| (self.outputs * bits).div_ceil(WORD_BITS) == self.zeros.shape[1];
        let by_inputs = listed.as_ref().map(|listed| stored_bits / listed.elements());
        let candidates =
            by_inputs.into_iter().chain(settings.bits()).chain([4, 8, 2, 3, 5, 6, 7, 1]);
        let Some(bits) = candidates.filter(|bits| (1..=8).contains(bits)).find(fits) else {
            let expected = format!("zero points of 1 to 8 bits for {} outputs", self.outputs);
            return Err(parts.wrong(
                &self.zeros,
                ": shape",
                expected,
                format!("{:?}", self.zeros.shape),
            ));
        };
        let inputs = listed.as_ref().map_or(stored_bits / bits, TensorInfo::elements);
        parts.check_shape(&self.codes, &[(inputs * bits).div_ceil(WORD_BITS), self.outputs])?;
        parts
            .check_shape(&self.zeros, &[self.groups, (self.outputs * bits).div_ceil(WORD_BITS)])?;
        let length = settings.group_size().filter(|length| inputs.div_ceil(*length) == self.groups);
        let groups = match (listed, length) {
            (Some(tensor), _) if tensor.kind != ElementKind::I32 => {
                return Err(parts.wrong_kind(&tensor, "groups as I32"));
            }
            (Some(tensor), length) => {
                Groups::Listed(tensor, length.unwrap_or(inputs.div_ceil(self.groups)))
            }
            (None, Some(length)) => Groups::Every(length),
            (None, None) if inputs.is_multiple_of(self.groups) => {
                Groups::Every(inputs / self.groups)
            }
            (None, None) => {
                let expected = format!("a number of groups that divides {inputs} inputs");
                return Err(parts.wrong(
                    &self.scales,
                    ": shape",
                    expected,
                    self.groups.to_string(),
                ));
            }
        };
        let zero_values = if less_one { Values::one_more(bits) } else { Values::unsigned() };
        Ok(self.weight(inputs, bits, [Order::Down, Order::Along], zero_values, groups, "GPTQ"))
    }

    fn weight(
        self,
        inputs: usize,
        bits: usize,
        [order, zero_order]: [Order; 2],
        zero_values: Values,
        groups: Groups,
        method: &str,
    ) -> Quantized {
        let Self { weight, codes, scales, zeros, groups: group_count, outputs } = self;
        let grid =
            |entries| Grid { entries, groups: group_count, turned: true, sharing: Sharing::NONE };
        let zeros =
            Codes { tensor: zeros, rows: group_count, columns: outputs, bits, order: zero_order };
        let layout = Grouped {
            codes: Codes { tensor: codes.clone(), rows: inputs, columns: outputs, bits, order },
            values: Values::unsigned(),
            turned: true,
            scales: grid(Entries::Numbers(scales)),
            scales_of_scales: None,
            shift: Shift::Zero(grid(Entries::Codes(zeros, zero_values))),
            groups,
        };
        Quantized {
            name: weight,
            shape: vec![outputs, inputs],
            codes,
            label: format!("{method}, {bits} bits"),
            layout: Layout::Grouped(Box::new(layout)),
        }
    }
}
