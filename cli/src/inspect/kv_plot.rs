//! `hardtack inspect --plot --text`: the bits that a ring has for the keys and values of a text, by
//! layer and position.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::ensure;
use hardtack::{Engine, SessionOptions};

use super::plot::{CELL, MARGIN, ROW_PIXELS, bits_colour, write_svg};
use crate::args::KvArguments;
use crate::eval::text;
use crate::model;

/// Tokens of a chunk of the ring.
const CHUNK: usize = 64;

/// Reads the beginning of a text, as much as the ring's context holds, and draws what the ring made
/// of it.
pub fn plot(engine: &Engine, file: &Path, kv: &KvArguments, path: &Path) -> anyhow::Result<()> {
    let most = engine.network().spec.context_max as usize;
    // A drawing judges nothing, so that a text of the calibration may be drawn.
    let tokens = text::read(file, model::tokenizer(engine)?, [], most, |_| Ok(()))?.tokens;
    let options = SessionOptions::new().kv(model::ring(kv));
    let mut session = engine.session(&options)?;
    ensure!(
        tokens.len() > 2 * CHUNK,
        "{}: {} tokens fill no chunk that is sealed",
        file.display(),
        tokens.len()
    );
    session.feed(&tokens)?;
    let cells: Vec<_> = session.kv_levels().collect();
    let layers = engine.network().spec.layers.len();
    write_svg(path, &draw(&cells, layers, tokens.len().div_ceil(CHUNK)))
}

/// `cells` are layer, chunk, and bits of keys and values.
fn draw(cells: &[(usize, usize, [u32; 2])], layers: usize, chunks: usize) -> String {
    let cell = (ROW_PIXELS / chunks.max(1)).clamp(2, CELL);
    let (map, height) = (chunks * cell, layers * CELL);
    let mut svg = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| {
        svg.write_fmt(text).expect("writing to a string never fails")
    };
    put(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        (2 * map + MARGIN + 60).max(420),
        height + 100
    ));
    for (index, name) in ["keys", "values"].into_iter().enumerate() {
        put(format_args!(
            "<text x=\"{}\" y=\"18\">bits of {name}</text>\n",
            MARGIN + index * (map + 40)
        ));
    }
    for row in (0..layers).step_by(layers.div_ceil(40).max(1)) {
        put(format_args!("<text x=\"8\" y=\"{}\">layer {row}</text>\n", 47 + row * CELL));
    }
    let square = |x: usize, y: usize, width: usize, bits: u32, title: &str| {
        let (height, colour) = (CELL - 1, bits_colour(bits));
        format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\">\
             <title>{title}</title></rect>\n"
        )
    };
    for &(layer, chunk, bits) in cells {
        for (index, (name, bits)) in
            ["keys", "values"].into_iter().zip(bits).enumerate().filter(|(_, own)| own.1 > 0)
        {
            let x = MARGIN + index * (map + 40) + chunk * cell;
            let title =
                format!("layer {layer}, tokens {} and on, {name}: {bits} bits", chunk * CHUNK);
            put(format_args!("{}", square(x, 36 + layer * CELL, cell, bits, &title)));
        }
    }
    for (index, bits) in [2, 3, 4, 6, 8].into_iter().enumerate() {
        put(format_args!(
            "{}",
            square(12 + index * 46, height + 68, CELL - 1, bits, &format!("{bits} bits"))
        ));
        put(format_args!("<text x=\"{}\" y=\"{}\">{bits}</text>\n", 30 + index * 46, height + 78));
    }
    put(format_args!(
        "<text x=\"8\" y=\"{}\">rows are layers, columns chunks of {CHUNK} tokens; white is f16</text>\n</svg>\n",
        height + 58
    ));
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_a_square_for_each_part() {
        let cells = [(0, 1, [4, 3]), (0, 2, [8, 2]), (1, 1, [6, 0])];
        let svg = draw(&cells, 2, 4);
        assert_eq!(svg.matches("<title>").count(), 5 + 5);
        assert!(svg.contains("layer 0, tokens 128 and on, values: 2 bits"));
    }
}
