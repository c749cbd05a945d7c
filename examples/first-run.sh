#!/bin/sh
# The main job from nothing: fetch a small model, bake it under a byte budget, let it answer.
set -eu
cd "$(dirname "$0")/.."
sh examples/fetch-smollm2.sh
cargo build --release
hardtack=target/release/hardtack
$hardtack bake models/cache/smollm2-135m-instruct.gguf --budget 110MiB -o models/cache/smollm2.tack
$hardtack run models/cache/smollm2.tack --chat -p "Why is the sky blue? Answer in two sentences." -n 80
