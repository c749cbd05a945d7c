//! The side file of a calibration: it comes back to the bit, and each thing that can be wrong with
//! it has its line.

use std::fs;

use hardtack_converter::calibrate::tables::*;
use safetensors::tensor::{Dtype, TensorView};

fn some_tables() -> Tables {
    let expert = |number: u64| ExpertTable {
        cost: vec![0.1 * number as f64, 1e-300],
        tokens: number,
        mass: 1.0 / 3.0,
    };
    let domain = |number: u64| DomainTable {
        loss: 1.0 / 7.0 + number as f64,
        embedding: vec![1.0, 2.0],
        head: vec![0.0, f64::MIN_POSITIVE],
        layers: vec![
            LayerTable { attention: vec![3.0, 4.0], common: vec![5.0, 6.0], experts: Vec::new() },
            LayerTable {
                attention: vec![7.0, 8.0],
                common: Vec::new(),
                experts: (0..3).map(expert).collect(),
            },
        ],
    };
    let header = |name: &str| DomainHeader {
        name: name.to_owned(),
        source: "s".to_owned(),
        tokens_hash: "t".to_owned(),
        windows: 2,
        tokens: 10,
    };
    Tables {
        header: Header {
            source: "checkpoint".to_owned(),
            options: vec!["q3".to_owned(), "q4".to_owned()],
            seed: 9,
            domains: vec![header("a"), header("b")],
            layers: vec![
                LayerHeader { experts: 0, shared: false },
                LayerHeader { experts: 3, shared: false },
            ],
        },
        domains: vec![domain(0), domain(1)],
    }
}

#[test]
fn tables_come_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.safetensors");
    write(&path, &some_tables()).unwrap();
    assert_eq!(read(&path).unwrap(), some_tables());
    let first = fs::read(&path).unwrap();
    write(&path, &some_tables()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first, "the same tables, the same bytes");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.safetensors");
    let error =
        || read(&path).unwrap_err().to_string().replace(&path.display().to_string(), "FILE");
    let no_file = error();
    assert!(no_file.starts_with("FILE: "), "{no_file}");

    fs::write(&path, b"nonsense").unwrap();
    assert!(
        error().starts_with("FILE: contents: expected a safetensors file, found "),
        "{}",
        error()
    );

    let one = [0u8; 8];
    let views = || [("x", TensorView::new(Dtype::F64, vec![1], &one).unwrap())];
    fs::write(&path, safetensors::serialize(views(), None).unwrap()).unwrap();
    assert_eq!(error(), "FILE: metadata: expected the key hardtack_calibration, found none");

    let header = |text: &str| Some([("hardtack_calibration".to_owned(), text.to_owned())].into());
    fs::write(&path, safetensors::serialize(views(), header("{}")).unwrap()).unwrap();
    assert!(
        error().starts_with(
            "FILE: hardtack_calibration: expected the header of a calibration, found "
        )
    );

    let huge = r#"{"source":"","options":["q3"],"seed":0,"domains":[{"name":"","source":"","tokens_hash":"","windows":1,
        "tokens":1}],"layers":[{"experts":4294967295,"shared":true}]}"#;
    fs::write(&path, safetensors::serialize(views(), header(huge)).unwrap()).unwrap();
    assert!(
        error().starts_with("FILE: hardtack_calibration: expected at most 16777216 costs, found ")
    );

    let mut other = some_tables();
    other.header.layers[1].experts = 2;
    write(&path, &other).unwrap();
    assert_eq!(
        error(),
        "FILE: domain.0.layer.1.experts.cost: expected F64 [2, 2], found F64 [3, 2]"
    );

    let mut negative = some_tables();
    negative.domains[1].layers[0].attention[1] = -1.0;
    write(&path, &negative).unwrap();
    assert_eq!(
        error(),
        "FILE: domain.1.layer.0.attention: expected numbers that are finite and not negative, \
            found -1"
    );

    let mut fewer = some_tables();
    fewer.domains.pop();
    write(&path, &fewer).unwrap();
    assert_eq!(error(), "FILE: contents: expected 18 tensors, found 9");
}
