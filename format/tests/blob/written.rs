//! What is written is read.

use hardtack_format::network::{AttentionTensors, FeedForwardTensors};
use hardtack_format::{
    Blob, Encoding, FormatError, Layout, Network, Role, SectionKey, SectionKind, SectionPlan,
};
use hardtack_format::{TensorPlan, limits::*};

use crate::build::{Optional, sample, sample_spec, weights, write};

#[test]
fn the_sample_is_read_back() {
    let file = sample();
    assert!(file.len() < 400 << 10, "{} bytes", file.len());
    let blob = Blob::open(&file).expect("open");
    blob.verify().expect("verify");
    let network = Network::bind(&blob).expect("bind");
    assert_eq!(network.spec, sample_spec());
    assert_eq!(blob.spec(), Ok(sample_spec()));
    assert_eq!(blob.plain(SectionKind::Template), Some(&b"{{ messages }}"[..]));
    assert_eq!(blob.plain(SectionKind::Vocabulary), None);

    assert_ne!(network.head, network.embedding);
    assert_eq!(
        (network.embedding.encoding, network.embedding.rows, network.embedding.columns),
        (Encoding::Q8, 40, 32)
    );
    assert_eq!(network.rope_frequencies.map(|tensor| tensor.columns), Some(4));
    let AttentionTensors::Grouped(grouped) = network.layers[0].attention else {
        panic!("layer 0 is grouped")
    };
    assert_eq!((grouped.key.rows, grouped.query_norm.map(|norm| norm.columns)), (16, Some(16)));
    let AttentionTensors::Latent(latent) = network.layers[1].attention else {
        panic!("layer 1 is latent")
    };
    assert_eq!((latent.key_up.stack, latent.key_up.rows, latent.key_up.columns), (2, 16, 8));
    let FeedForwardTensors::Experts(experts) = &network.layers[1].feed_forward else {
        panic!("layer 1 has experts")
    };
    assert_eq!(
        (experts.experts.len(), experts.shared.is_some(), experts.shared_gate.is_some()),
        (3, true, true)
    );
}

#[test]
fn each_expert_is_one_section_of_its_own_tensors() {
    let file = sample();
    let blob = Blob::open(&file).expect("open");
    for (layer, expert) in [(0, 0), (0, 2), (1, 0), (1, 2)] {
        let record = blob.section(SectionKey::expert(layer, expert)).expect("the section");
        assert!(record.offset.is_multiple_of(TENSOR_ALIGNMENT));
        for (_, tensor) in blob.tensors(&record) {
            assert!(
                tensor.offset.is_multiple_of(TENSOR_ALIGNMENT) && tensor.offset >= record.offset
            );
            assert!(tensor.offset + tensor.bytes <= record.offset + record.bytes);
            assert_eq!(blob.tensor_bytes(&tensor).len() as u64, tensor.bytes);
        }
    }
    assert_eq!(blob.section(SectionKey::expert(0, 3)), None);
}

#[test]
fn large_sections_start_on_pages_and_small_ones_are_not_padded() {
    let matrix = |rows| TensorPlan {
        role: Role::Down,
        encoding: Encoding::Bf16,
        stack: 1,
        rows,
        columns: 64,
    };
    let rows_large = (LARGE_SECTION_BYTES / 128) as u32;
    let plans: Vec<SectionPlan> = (0..)
        .zip([16, rows_large - 16, rows_large, 16, rows_large + 16])
        .map(|(expert, rows)| SectionPlan::Tensors {
            key: SectionKey::expert(0, expert),
            tensors: vec![matrix(rows)],
        })
        .collect();
    let layout = Layout::new(&plans).expect("a layout");
    let mut end =
        (HEADER_BYTES + plans.len() * (SECTION_RECORD_BYTES + TENSOR_RECORD_BYTES)) as u64;
    for (record, alignment) in
        layout.sections().iter().zip([64, 64, SECTION_ALIGNMENT, 64, SECTION_ALIGNMENT])
    {
        assert_eq!(record.offset, end.next_multiple_of(alignment), "{}", record.key);
        assert_eq!(record.bytes >= LARGE_SECTION_BYTES, alignment == SECTION_ALIGNMENT);
        end = record.offset + record.bytes;
    }
    assert_eq!(layout.file_bytes(), end);
}

#[test]
fn a_network_without_optional_tensors_binds() {
    let spec = sample_spec();
    let bytes = spec.to_bytes();
    let mut plans = vec![SectionPlan::Plain {
        key: SectionKey::only(SectionKind::Spec),
        bytes: bytes.len() as u64,
    }];
    plans.extend(weights(&spec, Optional::Absent));
    let file = write(&plans, |_| bytes.clone());
    let network = Network::bind(&Blob::open(&file).expect("open")).expect("bind");
    assert_eq!(network.head, network.embedding);
}

#[test]
fn the_layout_refuses_what_the_reader_would() {
    let globals = SectionKey::only(SectionKind::Globals);
    let tensor = TensorPlan {
        role: Role::Embedding,
        encoding: Encoding::F32,
        stack: 1,
        rows: 1,
        columns: 1,
    };
    let section =
        |key, tensors: &[TensorPlan]| SectionPlan::Tensors { key, tensors: tensors.to_vec() };
    let plain = |kind, bytes| SectionPlan::Plain { key: SectionKey::only(kind), bytes };
    let refused = |plans: &[SectionPlan]| Layout::new(plans).map(|_| ()).expect_err("refused");

    assert!(Layout::new(&[section(globals, &[tensor])]).is_ok());
    let zero_or_missing: [&[SectionPlan]; 7] = [
        &[],
        &[plain(SectionKind::Spec, 1)],
        &[section(globals, &[])],
        &[plain(SectionKind::Globals, 1), section(SectionKey::layer(0), &[tensor])],
        &[section(SectionKey::only(SectionKind::Spec), &[tensor])],
        &[section(globals, &[TensorPlan { rows: 0, ..tensor }])],
        &[section(globals, &[TensorPlan { stack: 0, ..tensor }])],
    ];
    for plans in zero_or_missing {
        assert!(matches!(refused(plans), FormatError::Mismatch { .. }), "{plans:?}");
    }
    let over_limit: [&[SectionPlan]; 5] = [
        &[section(SectionKey::layer(LAYERS_MAX), &[tensor])],
        &[section(SectionKey::expert(0, EXPERTS_MAX), &[tensor])],
        &[section(globals, &[TensorPlan { columns: DIMENSION_MAX + 1, ..tensor }])],
        &[section(
            globals,
            &[TensorPlan { rows: DIMENSION_MAX, columns: DIMENSION_MAX, ..tensor }],
        )],
        &[plain(SectionKind::Spec, PLAIN_SECTION_BYTES_MAX + 1), section(globals, &[tensor])],
    ];
    for plans in over_limit {
        assert!(matches!(refused(plans), FormatError::OverLimit { .. }), "{plans:?}");
    }
    for plans in [
        &[section(SectionKey::layer(0), &[tensor]), section(SectionKey::layer(0), &[tensor])][..],
        &[section(globals, &[tensor, tensor])],
    ] {
        assert!(matches!(refused(plans), FormatError::Order { .. }), "{plans:?}");
    }
}
