#!/bin/sh
# The main job from nothing: build, bake the shipped model under a byte budget, let it write.
set -eu
cd "$(dirname "$0")/.."
cargo build --release
mkdir -p models/cache
hardtack=target/release/hardtack
$hardtack bake models/crumb --budget 8MiB -o models/cache/crumb.tack
$hardtack run models/cache/crumb.tack -p "The old house stood" -n 80 --temperature 0.7 --seed 1
