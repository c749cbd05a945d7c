#!/bin/sh
# The table of RESULTS.md: what allocation and tuned gates are worth at equal bits of the experts.
#
#   sh converter/results.sh HARDTACK CHECKPOINT FOLDER "NAME=TEXT NAME=TEXT" JUDGE_TEXT...
#
# bakes CHECKPOINT into FOLDER at 1.5 to 3.5 bits an expert, calibrated on the named texts, by every method, and judges every
# blob on the texts that follow: perplexity, and divergence from the checkpoint in bf16, with 95 % intervals against uniform.
# Reports lie in FOLDER as JSON. What is there already is not made again.
set -eu
hardtack=$1 checkpoint=$2 folder=$3 calibration=$4
shift 4
mkdir -p "$folder"
texts=""
for text in $calibration; do texts="$texts --calib $text"; done
judge="--ctx 512 --windows ${WINDOWS:-32}"

[ -f "$folder/bf16.tack" ] || "$hardtack" bake "$checkpoint" --bits bf16 -o "$folder/bf16.tack"
for bits in 1.5 2.0 2.5 3.0 3.5; do
    for method in uniform per-layer global tuned; do
        blob="$folder/$bits-$method.tack"
        if [ ! -f "$blob" ]; then
            # One name, so that all of them share one calibration.
            case $method in
            tuned) flags="--allocation global" ;;
            *) flags="--allocation $method --tune 0" ;;
            esac
            # shellcheck disable=SC2086
            "$hardtack" bake "$checkpoint" $texts --bits-per-expert $bits $flags ${TOKENS:+--calib-tokens $TOKENS} \
                -o "$folder/next.tack" >"$folder/$bits-$method.txt"
            mv "$folder/next.tack" "$blob"
        fi
        for text in "$@"; do
            report="$folder/$bits-$method-$(basename "$text")"
            # shellcheck disable=SC2086
            [ -f "$report.kld.json" ] ||
                "$hardtack" eval kld "$blob" --against "$folder/bf16.tack" --text "$text" $judge --json >"$report.kld.json"
            # shellcheck disable=SC2086
            [ $method = uniform ] || [ -f "$report.ppl.json" ] ||
                "$hardtack" eval ppl "$blob" --against "$folder/$bits-uniform.tack" --text "$text" $judge --json \
                    >"$report.ppl.json"
        done
    done
done
