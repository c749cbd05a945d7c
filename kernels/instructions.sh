#!/bin/sh
# Instructions that a tier takes for 32 weights, by encoding, with one token and with 16 (for each
# of them): two runs under callgrind that differ by 50 panels of 16 x 2048.
#
#   cargo build --release --workspace --example counted
#   sh kernels/instructions.sh target/release/examples/counted avx2
set -eu
counted=$1 tier=$2
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$counted" "$tier" "$1" "$2" "$3" 2>&1 |
        sed -n 's/.*Collected : //p'
}
echo "| $tier | 1 token | 16 tokens, each |"
echo "|---|---|---|"
for encoding in q1 q2 q3 q4 q5 q6 q8 f16 bf16; do
    line="| $encoding |"
    for tokens in 1 16; do
        few=$(instructions $encoding $tokens 10)
        many=$(instructions $encoding $tokens 60)
        each=$(awk "BEGIN { printf \"%.2f\", ($many - $few) / 50 / (16 * 2048 / 32) / $tokens }")
        line="$line $each |"
    done
    echo "$line"
done
