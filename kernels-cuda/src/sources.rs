//! The sources of the kernels, kept in the program.

/// Files that others include, in the order that puts each after what it needs.
const HEADERS: [(&str, &str); 13] = [
    ("device.cuh", include_str!("../kernels/device.cuh")),
    ("quantize.cuh", include_str!("../kernels/quantize.cuh")),
    ("softmax.cuh", include_str!("../kernels/softmax.cuh")),
    ("hadamard.cuh", include_str!("../kernels/hadamard.cuh")),
    ("nested.cuh", include_str!("../kernels/nested.cuh")),
    ("ring.cuh", include_str!("../kernels/ring.cuh")),
    ("ring_block.cuh", include_str!("../kernels/ring_block.cuh")),
    ("ring_scores.cuh", include_str!("../kernels/ring_scores.cuh")),
    ("ring_values.cuh", include_str!("../kernels/ring_values.cuh")),
    ("tile.cuh", include_str!("../kernels/tile.cuh")),
    ("activation.cuh", include_str!("../kernels/activation.cuh")),
    ("teams.cuh", include_str!("../kernels/teams.cuh")),
    ("fragment.cuh", include_str!("../kernels/fragment.cuh")),
];

/// Files with kernels.
const KERNELS: [(&str, &str); 13] = [
    ("embed.cu", include_str!("../kernels/embed.cu")),
    ("normalize.cu", include_str!("../kernels/normalize.cu")),
    ("multiply.cu", include_str!("../kernels/multiply.cu")),
    ("multiply_prompt.cu", include_str!("../kernels/multiply_prompt.cu")),
    ("heads.cu", include_str!("../kernels/heads.cu")),
    ("attention.cu", include_str!("../kernels/attention.cu")),
    ("attention_ring.cu", include_str!("../kernels/attention_ring.cu")),
    ("combine_ring.cu", include_str!("../kernels/combine_ring.cu")),
    ("seal.cu", include_str!("../kernels/seal.cu")),
    ("router.cu", include_str!("../kernels/router.cu")),
    ("experts.cu", include_str!("../kernels/experts.cu")),
    ("experts_prompt.cu", include_str!("../kernels/experts_prompt.cu")),
    ("best.cu", include_str!("../kernels/best.cu")),
];

/// What the compiler gets besides the architecture. The kernels count on unfused multiplies and
/// adds: see `device.cuh`.
pub const OPTIONS: [&str; 2] = ["--std=c++17", "--fmad=false"];

/// Everything in one piece, which needs no file besides: includes are resolved, and marked as lines
/// of their files.
pub fn program() -> String {
    let mut program = String::new();
    for (name, text) in HEADERS.iter().chain(&KERNELS) {
        program.push_str(&format!("#line 1 \"{name}\"\n"));
        for line in text.lines() {
            let own = line.starts_with("#include \"") && !line.contains("emulate.h")
                || line.starts_with("#pragma once");
            program.push_str(if own { "" } else { line });
            program.push('\n');
        }
    }
    program
}
