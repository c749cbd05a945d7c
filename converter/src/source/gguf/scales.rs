//! What whole tensors are multiplied by: files of NVFP4 and the like hold such factors as tensors.
//!
//! `blk.0.ffn_up.scale` is for `blk.0.ffn_up.weight`: one number, or one for each of its matrices.
//! `blk.0.ffn_up.input_scale` is for the other factor of the product, which stays as it is here.

use std::collections::HashMap;

use crate::source::TensorInfo;

/// The factors of some tensors: by their names, the tensor that holds each one's.
pub type Scales = HashMap<String, TensorInfo>;

/// Takes the tensors that are factors of others out of the list.
pub fn take(tensors: &mut Vec<TensorInfo>) -> Scales {
    let matrices: HashMap<String, usize> = tensors
        .iter()
        .filter(|tensor| tensor.name.ends_with(".weight"))
        .map(|tensor| {
            (tensor.name.clone(), if tensor.shape.len() > 2 { tensor.shape[0] } else { 1 })
        })
        .collect();
    let mut scales = Scales::new();
    tensors.retain(|tensor| {
        let Some((weight, is_input)) = scaled(&tensor.name) else { return true };
        let Some(&count) = matrices.get(&weight) else { return true };
        if tensor.elements() != 1 && tensor.elements() != count {
            return true;
        }
        if !is_input {
            scales.insert(weight, tensor.clone());
        }
        false
    });
    scales
}

/// The tensor that a factor is for, and whether it is for what that is multiplied with. A trailing
/// `.weight` is in some files and in others not.
fn scaled(name: &str) -> Option<(String, bool)> {
    let (stem, is_input) = match name.strip_suffix(".input_scale") {
        Some(stem) => (stem, true),
        None => (name.strip_suffix(".scale")?, false),
    };
    Some((format!("{}.weight", stem.strip_suffix(".weight").unwrap_or(stem)), is_input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ElementKind;

    fn tensor(name: &str, shape: &[usize]) -> TensorInfo {
        let bytes = 4 * shape.iter().product::<usize>() as u64;
        TensorInfo {
            name: name.into(),
            shape: shape.into(),
            kind: ElementKind::F32,
            file: 0,
            offset: 0,
            bytes,
        }
    }

    #[test]
    fn factors_are_found_by_their_names_and_counts() {
        let mut tensors = vec![
            tensor("a.weight", &[4, 8]),
            tensor("a.scale", &[1]),
            tensor("a.input_scale", &[1]),
            tensor("b_exps.weight", &[3, 4, 8]),
            tensor("b_exps.weight.scale", &[3]),
            tensor("c.weight", &[4, 8]),
            tensor("c.scale", &[4]),
            tensor("d.scale", &[1]),
        ];
        let scales = take(&mut tensors);
        let left: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        // One number a row is no factor of a matrix, and one without its tensor is somebody else's.
        assert_eq!(left, ["a.weight", "b_exps.weight", "c.weight", "c.scale", "d.scale"]);
        assert_eq!(scales["a.weight"].name, "a.scale");
        assert_eq!(scales["b_exps.weight"].name, "b_exps.weight.scale");
        assert_eq!(scales.len(), 2);
    }
}
