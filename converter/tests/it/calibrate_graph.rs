//! The differentiable forward pass against the logits that `transformers` returns for every
//! family's fixture.

use candle_core::DType;
use hardtack_converter::calibrate::Model;
use hardtack_converter::calibrate::graph::{self, Pass};
use hardtack_format::Role;
use hardtack_testing::{Reference, each_family, fixture, references};

/// Largest difference from the reference that a logit may have.
const TOLERANCE: f32 = 1e-3;

fn worst_difference(model: &Model, reference: &Reference, dtype: DType) -> f32 {
    let spec = model.spec();
    let pass =
        Pass::new(spec, &model.frequencies().unwrap(), reference.prompt.len(), dtype).unwrap();
    let mut stream =
        graph::embed(spec, &model.global(Role::Embedding, dtype).unwrap(), &reference.prompt)
            .unwrap();
    for (index, layer) in spec.layers.iter().enumerate() {
        stream = graph::layer(layer, &model.layer(index, dtype).unwrap(), &stream, &pass).unwrap();
    }
    let gain = model.global(Role::FinalNorm, dtype).unwrap();
    let logits =
        graph::logits(spec, &gain, &model.global(Role::Head, dtype).unwrap(), &stream).unwrap();
    let logits =
        logits.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(logits.len(), reference.logits.len());
    logits.iter().zip(&reference.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn check_family(family: &str) {
    let Some(folder) = fixture(family) else { return };
    let model = Model::open(&folder).unwrap();
    for dtype in [DType::F32, DType::F64] {
        let worst = references(&folder)
            .iter()
            .map(|reference| worst_difference(&model, reference, dtype))
            .inspect(|worst| {
                assert!(*worst <= TOLERANCE, "{family}, {dtype:?}: a logit differs by {worst}")
            })
            .fold(0.0, f32::max);
        println!("{family}, {dtype:?}: logits differ by at most {worst:e}");
    }
}

each_family!(check_family);
