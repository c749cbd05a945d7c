//! `hardtack inspect --plot`: bits of every expert as a heat map, and the calibration traffic
//! beside it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use hardtack::Engine;
use hardtack::format::{Encoding, Role, SectionKey, SectionKind};

use super::making::Provenance;
use crate::output::write_file;

/// Side of a cell and the room for names, in pixels.
pub const CELL: usize = 14;
pub const MARGIN: usize = 56;
/// Most cells of a row: wider layers get narrower cells.
pub const ROW_PIXELS: usize = 640;

/// Bits of one layer's parts; none where it has no such part.
struct Layer {
    attention: Option<u32>,
    common: Option<u32>,
    experts: Vec<u32>,
}

/// Draws the blob's bits into an SVG file.
pub fn plot(engine: &Engine, provenance: Option<&Provenance>, path: &Path) -> anyhow::Result<()> {
    let layers = layers(engine);
    let traffic =
        provenance.and_then(|own| own.allocation.as_ref()).map(|own| own.expert_tokens.as_slice());
    let text = draw(&layers, traffic.filter(|traffic| traffic.len() == layers.len()));
    write_svg(path, &text)
}

/// Writes a drawing, whole or not at all.
pub fn write_svg(path: &Path, text: &str) -> anyhow::Result<()> {
    write_file(path, |file| Ok(file.write_all(text.as_bytes())?))
}

fn layers(engine: &Engine) -> Vec<Layer> {
    let blob = engine.blob();
    let count = engine.network().spec.layers.len();
    let mut layers: Vec<Layer> =
        (0..count).map(|_| Layer { attention: None, common: None, experts: Vec::new() }).collect();
    for record in blob.sections() {
        let SectionKey { kind, layer, .. } = record.key;
        let bits_of = |role: Role| {
            let (_, tensor) = blob.tensors(&record).find(|(own, _)| *own == role)?;
            bits(tensor.encoding)
        };
        match kind {
            SectionKind::Layer => {
                let own = &mut layers[layer as usize];
                (own.attention, own.common) = (bits_of(Role::Output), bits_of(Role::Down));
            }
            SectionKind::Expert => layers[layer as usize].experts.extend(bits_of(Role::Down)),
            _ => {}
        }
    }
    layers
}

fn bits(encoding: Encoding) -> Option<u32> {
    match encoding {
        Encoding::F16 | Encoding::Bf16 => Some(16),
        Encoding::F32 => Some(32),
        encoding => encoding.code_bits(),
    }
}

/// Dark is dear: from a light sand for 1 bit to a deep blue for 8 and more.
pub fn bits_colour(bits: u32) -> &'static str {
    match bits {
        0 | 1 => "#f7ecc9",
        2 => "#f3cf8e",
        3 => "#e9a469",
        4 => "#cf7265",
        5 => "#a34f70",
        6 => "#733b76",
        7 | 8 => "#442c6b",
        _ => "#1b1b4d",
    }
}

fn draw(layers: &[Layer], traffic: Option<&[Vec<u64>]>) -> String {
    let widest = layers.iter().map(|layer| layer.experts.len()).max().unwrap_or(0);
    let cell = (ROW_PIXELS / widest.max(1)).clamp(2, CELL);
    let (map, height) = (widest * cell, layers.len() * CELL);
    let bits_at = MARGIN + 3 * CELL;
    let traffic_at = bits_at + map + 40;
    let width = traffic.map_or(bits_at + map, |_| traffic_at + map).max(420) + 20;
    let mut svg = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| {
        svg.write_fmt(text).expect("writing to a string never fails")
    };
    put(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        height + 110
    ));
    let mut label = |x: usize, y: usize, text: &str| {
        put(format_args!("<text x=\"{x}\" y=\"{y}\">{text}</text>\n"))
    };
    label(bits_at, 18, "bits of each expert");
    label(MARGIN, 30, "A");
    label(MARGIN + CELL, 30, "C");
    label(
        8,
        height + 58,
        "A attention, C the block that every token uses; rows are layers, columns experts",
    );
    if traffic.is_some() {
        label(traffic_at, 18, "calibration tokens of each expert");
        label(
            8,
            height + 100,
            "Traffic: white none, light blue an even share, dark blue three times that and more",
        );
    }
    for (index, bits) in [1, 2, 3, 4, 5, 6, 8, 16].into_iter().enumerate() {
        label(30 + index * 46, height + 78, &format!("{bits}"));
    }
    let mut square = |x: usize, y: usize, width: usize, colour: &str, title: &str| {
        put(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{colour}\" stroke=\"#ddd\" \
             stroke-width=\"0.5\"><title>{title}</title></rect>\n",
            CELL - 1
        ));
    };
    for (index, bits) in [1, 2, 3, 4, 5, 6, 8, 16].into_iter().enumerate() {
        square(12 + index * 46, height + 68, CELL - 1, bits_colour(bits), &format!("{bits} bits"));
    }
    for (row, layer) in layers.iter().enumerate() {
        let y = 36 + row * CELL;
        for (column, (name, bits)) in
            [("attention", layer.attention), ("common", layer.common)].into_iter().enumerate()
        {
            if let Some(bits) = bits {
                let title = format!("layer {row}, {name}: {bits} bits");
                square(MARGIN + column * CELL, y, CELL - 1, bits_colour(bits), &title);
            }
        }
        for (expert, &bits) in layer.experts.iter().enumerate() {
            let title = format!("layer {row}, expert {expert}: {bits} bits");
            square(bits_at + expert * cell, y, cell, bits_colour(bits), &title);
        }
        let own = traffic.map(|traffic| traffic[row].as_slice()).unwrap_or_default();
        let even = own.iter().sum::<u64>() as f64 / own.len().max(1) as f64;
        for (expert, &tokens) in own.iter().enumerate() {
            let share = tokens as f64 / even.max(1.0);
            let title = format!(
                "layer {row}, expert {expert}: {tokens} tokens, {share:.2} of an even share"
            );
            square(traffic_at + expert * cell, y, cell, &traffic_colour(share), &title);
        }
    }
    let step = layers.len().div_ceil(40).max(1);
    for row in (0..layers.len()).step_by(step) {
        put(format_args!("<text x=\"8\" y=\"{}\">layer {row}</text>\n", 47 + row * CELL));
    }
    svg.push_str("</svg>\n");
    svg
}

/// From white at nothing to dark blue at three times an even share.
fn traffic_colour(share: f64) -> String {
    let depth = (share / 3.0).min(1.0);
    let channel = |from: f64, to: f64| (from + (to - from) * depth).round() as u8;
    format!("#{:02x}{:02x}{:02x}", channel(255.0, 8.0), channel(255.0, 48.0), channel(255.0, 107.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_square() {
        let layer =
            |experts: &[u32]| Layer { attention: Some(6), common: None, experts: experts.to_vec() };
        let layers = [layer(&[1, 2, 3, 4]), layer(&[2, 2, 8, 8])];
        let squares = |svg: &str| svg.matches("<title>").count();
        let legend = 8;
        assert_eq!(squares(&draw(&layers, None)), legend + 2 + 8);
        let traffic = [vec![0, 10, 20, 30], vec![15; 4]];
        let svg = draw(&layers, Some(&traffic));
        assert_eq!(squares(&svg), legend + 2 + 16);
        assert!(svg.contains("layer 0, expert 0: 0 tokens, 0.00 of an even share"));
        assert!(svg.contains("layer 1, expert 2: 8 bits"));
        assert_eq!(traffic_colour(0.0), "#ffffff");
        assert_eq!(traffic_colour(9.0), "#08306b");
    }
}
