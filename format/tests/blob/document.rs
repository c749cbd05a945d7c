//! `SPEC.md` and the code say the same: every table of the page is read here and compared.

use std::collections::BTreeSet;

use hardtack_format::limits::*;
use hardtack_format::{Blob, Encoding, Role, SectionKind};

use crate::build::{sample, sample_spec};
use crate::seal::{u32_at, u64_at};

const SPEC: &str = include_str!("../../SPEC.md");

/// The rows of the one table with this first line, cell by cell.
pub fn table(header: &str) -> Vec<Vec<&'static str>> {
    tables(header).into_iter().next().unwrap_or_else(|| panic!("no table {header}"))
}

fn tables(header: &str) -> Vec<Vec<Vec<&'static str>>> {
    let line = format!("\n{header}\n");
    let after = SPEC.split(line.as_str()).skip(1);
    let rows = |text: &'static str| {
        text.lines().skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
    };
    after.map(rows).collect()
}

fn cells(line: &'static str) -> Vec<&'static str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

pub fn number(cell: &str) -> u64 {
    cell.parse().unwrap_or_else(|_| panic!("{cell} is not a number"))
}

const FIELDS: &str = "| offset | bytes | field | rule |";

#[test]
fn limits_are_the_constants() {
    macro_rules! constants {
        // `constants!(A, B)` becomes `[("A", A as u64), ("B", B as u64)]`.
        ($($name:ident),*) => { [$((stringify!($name), $name as u64)),*] };
    }
    let constants = constants!(
        VERSION,
        HEADER_BYTES,
        HEADER_HASHED_BYTES,
        SECTION_RECORD_BYTES,
        TENSOR_RECORD_BYTES,
        SECTION_ALIGNMENT,
        LARGE_SECTION_BYTES,
        TENSOR_ALIGNMENT,
        LAYERS_MAX,
        EXPERTS_MAX,
        CHOSEN_MAX,
        SECTIONS_MAX,
        TENSORS_MAX,
        DIMENSION_MAX,
        STACK_MAX,
        FILE_BYTES_MAX,
        PLAIN_SECTION_BYTES_MAX,
        VOCABULARY_MAX,
        CONTEXT_MAX,
        HEADS_MAX,
        HEAD_DIM_MAX,
        KV_PRICES_MAX,
        KV_ROUTER_WIDTH_MAX
    );
    let written: Vec<_> =
        table("| name | value | of |").iter().map(|row| (row[0], number(row[1]))).collect();
    assert_eq!(written, constants);

    // And the source has none that the page and the list above do not have.
    let source = include_str!("../../src/limits.rs");
    let declared = source
        .lines()
        .filter(|line| line.starts_with("pub const ") && !line.contains("MAGIC"))
        .count();
    assert_eq!(declared, constants.len());
    for name in SPEC.split('`').filter(|word| word.ends_with("_MAX")) {
        assert!(constants.iter().any(|constant| constant.0 == name), "{name} has no value");
    }
}

#[test]
fn numbers_are_the_enumerations() {
    let roles: Vec<_> = (0..=u16::MAX)
        .filter_map(Role::from_number)
        .map(|role| (role as u64, role.name()))
        .collect();
    let written: Vec<_> = table("| role | name | section | shape |")
        .iter()
        .map(|row| (number(row[0]), row[1]))
        .collect();
    assert_eq!(written, roles);

    let kinds: Vec<_> = (0..=u16::MAX)
        .filter_map(SectionKind::from_number)
        .map(|kind| (kind as u64, kind.name(), if kind.has_tensors() { "yes" } else { "no" }))
        .collect();
    let written: Vec<_> = table("| kind | name | tensors | content |")
        .iter()
        .map(|row| (number(row[0]), row[1], row[2]))
        .collect();
    assert_eq!(written, kinds);
}

#[test]
fn encodings_are_the_enumeration() {
    let rows =
        table("| number | name | tile bytes | planes (bits at offset) | bytes of a tensor |");
    let numbers: Vec<_> = rows.iter().map(|row| number(row[0])).collect();
    let known: Vec<_> =
        (0..=u16::MAX).filter_map(Encoding::from_number).map(|known| known as u64).collect();
    assert_eq!(numbers, known);
    for row in &rows {
        let encoding = Encoding::from_number(number(row[0]) as u16).expect("compared above");
        assert_eq!(row[1], encoding.name());
        assert_eq!(number(row[2]), encoding.tile_bytes() as u64);
        let planes: Vec<_> =
            encoding.planes().iter().map(|(bits, offset)| format!("{bits} at {offset}")).collect();
        assert_eq!(row[3], planes.join(", "));
        for (stack, rows, columns) in [(1, 1, 1), (3, 17, 65), (2, 16, 64), (1, 576, 1536)] {
            assert_eq!(
                Some(formula(row[4], stack, rows, columns)),
                encoding.tensor_bytes(stack, rows, columns)
            );
        }
    }
}

/// A product of names, numbers and `ceil(name / number)`, as the encodings table has it.
fn formula(text: &str, stack: u32, rows: u32, columns: u32) -> u64 {
    let name = |word: &str| match word {
        "stack" => stack.into(),
        "rows" => rows.into(),
        "columns" => columns.into(),
        word => number(word),
    };
    let factor =
        |word: &str| match word.strip_prefix("ceil(").and_then(|inner| inner.strip_suffix(')')) {
            Some(quotient) => {
                let (above, below) = quotient.split_once(" / ").expect("a quotient");
                name(above).div_ceil(number(below))
            }
            None => name(word),
        };
    text.trim_matches('`').split(" * ").map(factor).product()
}

/// Fields of one record follow each other without a gap; returns its length.
fn record_bytes(rows: &[Vec<&str>]) -> usize {
    let end = rows.iter().fold(0, |end, row| {
        assert_eq!(number(row[0]), end, "{}", row[2]);
        end + number(row[1])
    });
    end as usize
}

#[test]
fn fields_fill_their_records() {
    let tables = tables(FIELDS);
    let lengths: Vec<_> = tables.iter().map(|rows| record_bytes(rows)).collect();
    assert_eq!(lengths, [HEADER_BYTES, SECTION_RECORD_BYTES, TENSOR_RECORD_BYTES, 32, 80]);
    let spec = sample_spec();
    assert_eq!(spec.to_bytes().len(), lengths[3] + lengths[4] * spec.layers.len());
}

/// Reads a field of 1 to 8 bytes at the place that the page has for it.
fn field(file: &[u8], record: usize, rows: &[Vec<&str>], name: &str) -> u64 {
    let row = rows.iter().find(|row| row[2] == name).unwrap_or_else(|| panic!("no field {name}"));
    let at = record + number(row[0]) as usize;
    match number(row[1]) {
        2 => u64::from(u32_at(file, at) & 0xffff),
        4 => u32_at(file, at).into(),
        8 => u64_at(file, at),
        bytes => panic!("{name}: {bytes} bytes"),
    }
}

#[test]
fn fields_stand_where_the_page_says() {
    let file = sample();
    let blob = Blob::open(&file).expect("open");
    let tables = tables(FIELDS);
    let header = |name| field(&file, 0, &tables[0], name);
    assert_eq!(header("magic"), u64::from_le_bytes(MAGIC));
    assert_eq!((header("version"), header("header_bytes")), (VERSION.into(), HEADER_BYTES as u64));
    assert_eq!(header("file_bytes"), file.len() as u64);
    assert_eq!(header("section_count"), blob.sections().len() as u64);
    let magic: Vec<_> = MAGIC.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(tables[0][0][3], format!("`{}`", magic.join(" ")));

    let first_tensor = HEADER_BYTES + blob.sections().len() * SECTION_RECORD_BYTES;
    let mut seen = BTreeSet::new();
    for (index, record) in blob.sections().enumerate() {
        let section =
            |name| field(&file, HEADER_BYTES + index * SECTION_RECORD_BYTES, &tables[1], name);
        assert_eq!(section("kind"), record.key.kind as u64);
        assert_eq!(
            (section("layer"), section("expert")),
            (record.key.layer.into(), record.key.expert.into())
        );
        assert_eq!(section("first_tensor"), record.first_tensor.into());
        assert_eq!(section("tensor_count"), record.tensor_count.into());
        assert_eq!((section("offset"), section("bytes")), (record.offset, record.bytes));
        for (at, (role, tensor)) in blob.tensors(&record).enumerate() {
            let number = record.first_tensor as usize + at;
            let own =
                |name| field(&file, first_tensor + number * TENSOR_RECORD_BYTES, &tables[2], name);
            assert_eq!((own("section"), own("role")), (index as u64, role as u64));
            assert_eq!(own("encoding"), tensor.encoding as u64);
            assert_eq!(own("stack"), tensor.stack.into());
            assert_eq!((own("rows"), own("columns")), (tensor.rows.into(), tensor.columns.into()));
            assert_eq!((own("offset"), own("bytes")), (tensor.offset, tensor.bytes));
            seen.insert(number);
        }
    }
    assert_eq!(header("tensor_count"), seen.len() as u64);
}

#[test]
fn spec_fields_stand_where_the_page_says() {
    let bytes = sample_spec().to_bytes();
    let tables = tables(FIELDS);
    // The sample's numbers, floats by their bits, in the order of the page.
    let float = |value: f32| u64::from(value.to_bits());
    let one = float(1.0);
    let whole = [40, 32, 512, 2, float(1e-6), one, one, one];
    let grouped = [2, float(0.25), 8, 8, one, 1, 1, 16, 1, 0, 1, 0, 0, 2, 24, 3, 2, 0, 2, one];
    let clamp = [2, float(1.702), float(7.0)];
    let latent = [
        2,
        float(0.25),
        0,
        8,
        one,
        2,
        8,
        16,
        8,
        12,
        clamp[0],
        clamp[1],
        clamp[2],
        2,
        24,
        3,
        2,
        16,
        1,
        float(2.5),
    ];
    for (record, rows, expected) in
        [(0, &tables[3], &whole[..]), (32, &tables[4], &grouped), (112, &tables[4], &latent)]
    {
        let found: Vec<_> = rows.iter().map(|row| field(&bytes, record, rows, row[2])).collect();
        assert_eq!(found, expected);
    }
}
