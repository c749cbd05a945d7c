#!/bin/sh
# Cycles that the NEON tiers take for 32 weights by llvm-mca's models of cores, by encoding, with
# one token and with eight (for each of them). What a panel of 16 x 2048 runs through under
# emulation goes through the model as one straight line. Relative figures only: a model knows
# neither caches nor branches, and versions of LLVM disagree.
#
#   apt-get install llvm-19 qemu-user-static
#   export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
#   target=aarch64-unknown-linux-musl
#   cargo build --release --target $target -p hardtack --no-default-features --example counted
#   sh kernels/mca.sh target/$target/release/examples/counted neoverse-n2 neon neon+dotprod
set -eu
counted=$1 core=$2
shift 2
if ! llvm-mca-19 --version | grep -q 'version 19\.1\.7'; then
    echo "The table is of llvm-mca 19.1.7" >&2
    exit 1
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Each address with its instruction. Addresses in them mean nothing in a straight line.
llvm-objdump-19 -d --no-show-raw-insn --mattr=+all "$counted" | awk -F'\t' '
    $1 ~ /^ *[0-9a-f]+: *$/ {
        address = $1
        gsub(/[ :]/, "", address)
        operands = $3
        sub(/ *\/\/.*/, "", operands)
        if (sub(/ *<.*/, "", operands)) sub(/0x[0-9a-f]+$/, ".", operands)
        print address, $2, operands
    }' >"$scratch/program"

# Cycles for 32 weights and one token.
cycles() {
    qemu-aarch64-static -cpu max -singlestep -d exec,nochain -D "$scratch/trace" \
        "$counted" "$1" "$2" "$3" 1
    # From the first instruction of the panel's kernel to the last, with all that it calls. A model
    # takes a call for a hundred cycles, and calls are few.
    awk 'NR == FNR { at = $1; $1 = ""; instruction[at] = $0; next }
        /hardtack_kernels_neon.*panels.*q[0-9]/ { inside = 1 }
        inside {
            split($4, place, "/")
            sub(/^0+/, "", place[2])
            own = instruction[place[2]]
            if (own !~ /^ (bl|blr|ret)/) pending = pending own "\n"
        }
        /hardtack_kernels_neon/ { printf "%s", pending; pending = "" }
    ' "$scratch/program" "$scratch/trace" >"$scratch/line.s"
    llvm-mca-19 -mtriple=aarch64 -mcpu="$core" -mattr=+dotprod,+i8mm -iterations=1 \
        -all-views=false -summary-view "$scratch/line.s" |
        awk -v tokens="$3" '/^Total Cycles/ { printf "%.2f", $3 / (16 * 2048 / 32) / tokens }'
}

line="| $core |" rule="|---|"
for tier; do
    line="$line $tier, 1 token | 8 tokens, each |" rule="$rule---|---|"
done
printf '%s\n%s\n' "$line" "$rule"
for encoding in ${ENCODINGS:-q1 q2 q3 q4 q5 q6 q8}; do
    line="| $encoding |"
    for tier; do
        for tokens in 1 8; do
            line="$line $(cycles "$tier" $encoding $tokens) |"
        done
    done
    echo "$line"
done
