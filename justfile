# What one does most. `just` lists it; CONTRIBUTING.md has each as a plain command.

# lists the recipes
default:
    @just --list

# formats, lints
check:
    cargo fmt --all
    cargo clippy --workspace --all-targets --locked -- -D warnings

# all tests, or those whose name has a word: `just test golden`
test *words:
    cargo test --workspace --locked -- {{words}}

# speed of the shipped model beside the bandwidth of this machine
bench:
    cargo run --release --locked -- bake models/crumb -o target/crumb.tack --bits 4
    cargo run --release --locked -- bench target/crumb.tack

# CUDA kernels for every Jetson, without a GPU
cuda:
    .ci/cuda

# every fuzz target for this many seconds
fuzz seconds="60":
    .ci/fuzz {{seconds}}

# what decides whether a change lands
ci:
    .ci/run
